"""Files of several runtimes in turns: what their times come to, and how a file is opened by its suffix."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench.peers import speed, turns
from edge_se.core.progress import SILENT
from edge_se.graph.tflite.conversion import to_tflite
from edge_se.graph.tflite.flatbuffer import missing

ROOT = Path(__file__).parents[2]
# Of each process the turns of a file: [processor's ms, wall ms]. The second process ran on a busier machine.
QUIET = {"own": [[1.0, 1.1], [1.2, 1.3], [1.1, 9.0]], "fp32": [[4.0, 4.0], [4.8, 4.8], [4.4, 4.4]],
         "a": [[2.0, 2.0], [2.4, 2.4], [2.2, 2.2]], "b": [[1.9, 1.9], [2.3, 2.3], [2.1, 2.1]]}
BUSY = {name: [[3 * value for value in turn] for turn in own] for name, own in QUIET.items()}


def test_times_are_medians_and_ratios_those_of_the_same_turns():
    told = speed.times("own", "fp32", [QUIET, BUSY])
    assert told["cpu_ms_of_processes"] == pytest.approx([1.1, 3.3])
    assert told["cpu_ms"] == pytest.approx((1.2 + 3.0) / 2), "the middle of six turns"
    assert told["time_over_fp32"] == pytest.approx(0.25), "however busy the machine is"


@pytest.mark.parametrize(("peers", "fastest", "ratio"), [
    ({"A": "a", "B": "b"}, "B", 1.1 / 2.1), ({"A": "a"}, "A", 0.5), ({"FP32": "fp32", "A": "a"}, "A", 0.5)])
def test_a_file_is_held_against_the_fastest_of_the_peers(peers, fastest, ratio):
    told = speed.against("own", peers, [QUIET, BUSY])
    assert told["fastest_peer"] == fastest
    assert told["time_over_it"] == pytest.approx(ratio, rel=0.01)
    assert told["time_over_it_of_processes"] == pytest.approx([told["time_over_it"]] * 2)


def test_a_file_is_held_against_peers_of_its_runtime_and_of_any():
    running = [one for one in speed.CONTENDERS if one.name in ("edge-se cpu", "edge-se litert", "NNCF on ONNX")]
    process = {one.file: [[1.0, 1.0]] for one in running} | {"nncf.onnx": [[2.0, 2.0]]}
    rows = speed._against_all(running, [process])
    assert [(row["name"], row["of"], row["fastest_peer"], row["time_over_it"]) for row in rows] == [
        ("edge-se cpu", "onnxruntime", "NNCF on ONNX", 0.5), ("edge-se cpu", "any", "NNCF on ONNX", 0.5),
        ("edge-se litert", "any", "NNCF on ONNX", 0.5)], "no peer runs in LiteRT"


def test_answers_that_are_kept_are_not_computed_again(tmp_path, monkeypatch):
    jobs = []

    def run(command, **settings):
        jobs.append(json.loads(command[-1].read_text()))
        return SimpleNamespace(stdout="a warning\n{}\n")
    monkeypatch.setattr(speed, "subprocess", SimpleNamespace(run=run, PIPE=None))
    running = [one for one in speed.CONTENDERS if one.runtime == "onnxruntime"]
    for name, count in (("fp32.onnx", 5), ("ort.onnx", 4)):
        np.save(tmp_path / f"{name}.npy", np.zeros((count, 10)))
    assert speed._processes(running, tmp_path, 5) == [{}] * speed.PROCESSES
    assert list(jobs[0]["files"]) == ["int8.cpu.onnx", "fp32.onnx", "ort.onnx", "nncf.onnx"], "FP32 once"
    assert list(jobs[0]["logits"]) == ["int8.cpu.onnx", "ort.onnx", "nncf.onnx"], "of another number of images: anew"
    assert [job["logits"] for job in jobs[1:]] == [{}] * (speed.PROCESSES - 1)


def test_a_file_that_its_runtime_does_not_open_is_told_in_its_last_line(tmp_path, monkeypatch):
    (tmp_path / "ort.onnx").write_bytes(b"no graph")
    monkeypatch.setattr(speed.tools, "with_tool", lambda tool: os.environ | {"PYTHONPATH": str(ROOT)})
    said = speed._refusal(tmp_path / "ort.onnx", None)
    assert "protobuf" in said.lower() and "\n" not in said
    monkeypatch.setattr(speed, "CONTENDERS", tuple(one for one in speed.CONTENDERS if one.peer == "ort"))
    assert speed._quantized(tmp_path, SILENT) == {"onnxruntime default": said}


def test_what_tools_made_of_another_fp32_goes(tiny_build, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "to_tflite", lambda model: b"made of it")
    build = tiny_build("build", targets=["cpu"])
    (build.folder / "int8.litert.tflite").write_bytes(b"own")
    speed._copy_own(build.folder, tmp_path)
    (tmp_path / "nncf.onnx").write_bytes(b"a tool's")
    np.save(tmp_path / "fp32.pte.npy", np.zeros(1))
    speed._copy_own(build.folder, tmp_path)
    assert (tmp_path / "nncf.onnx").is_file() and (tmp_path / "fp32.pte.npy").is_file(), "of the same FP32"
    (tmp_path / "fp32.onnx").write_bytes(b"of other weights")
    speed._copy_own(build.folder, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "fp32.onnx", "int8.cpu.onnx", "int8.litert.tflite", "own.tflite"]
    assert (tmp_path / "fp32.onnx").read_bytes() == (build.folder / "fp32.onnx").read_bytes()


@pytest.mark.parametrize(("shape", "dtype", "quantization", "expected"), [
    ((1, 3, 1, 2), np.float32, (0.0, 0), [[[[1.0, -1.0]], [[0.26, 9.0]], [[0.0, 0.24]]]]),
    ((1, 1, 2, 3), np.float32, (0.0, 0), [[[[1.0, 0.26, 0.0], [-1.0, 9.0, 0.24]]]]),
    ((1, 1, 2, 3), np.int8, (0.5, 100), [[[[102, 101, 100], [98, 118, 100]]]]),
    ((1, 3, 1, 2), np.int8, (0.1, 60), [[[[70, 50]], [[63, 127]], [[60, 62]]]])])
def test_an_image_lies_as_the_file_takes_it(shape, dtype, quantization, expected):
    image = np.array([[[[1.0, -1.0]], [[0.26, 9.0]], [[0.0, 0.24]]]], np.float32)
    taken = turns.as_taken(image, {"shape": np.array(shape), "dtype": dtype, "quantization": quantization})
    assert taken.dtype == dtype and taken.flags.c_contiguous
    np.testing.assert_array_equal(taken, np.array(expected, dtype))


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_each_file_is_run_and_timed_by_its_suffix(small_net, run_onnx, tmp_path, monkeypatch, capsys):
    images = np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)
    files = {"net.onnx": small_net.content, "net.tflite": to_tflite(small_net)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "job.json").write_text(json.dumps(
        {"images": str(tmp_path / "images.npy"), "files": {name: str(tmp_path / name) for name in files}, "rounds": 2,
         "logits": {name: str(tmp_path / f"{name}.npy") for name in files}}))
    monkeypatch.setattr("sys.argv", ["turns", str(tmp_path / "job.json")])
    turns.main()
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {name: np.shape(own) for name, own in told.items()} == dict.fromkeys(files, (2, 2))
    for name in files:
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), run_onnx(small_net.proto, images)[0], atol=1e-4)
