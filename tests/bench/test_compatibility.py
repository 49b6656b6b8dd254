"""The table of files and runtimes: a cell says what a runtime makes of a file, and a crash costs one cell."""

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench.compatibility import __main__ as command
from bench.compatibility import cell as cells
from bench.compatibility import sessions
from bench.compatibility.runtimes import RUNTIMES, not_told
from bench.tables import compatibility as table
from bench.tables.measured import measured
from edge_se.backends.base import Device
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.core.artifacts import read_build
from edge_se.core.errors import ModelError
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import TimingPlan
from edge_se.steps.export import export


@pytest.fixture(scope="module")
def build(small_build):
    return read_build(Path(small_build))


@pytest.fixture
def asked(build, run_onnx, tmp_path, monkeypatch):
    """(runtime, file of the small build) -> the cell, of 20 images and a short time."""
    monkeypatch.setattr(cells, "PLAN", TimingPlan(min_duration=0, min_runs=2, warmup=0))
    images = np.random.default_rng(0).standard_normal((20, 3, 32, 32), dtype=np.float32)
    fp32 = build.folder / "fp32.onnx"
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "fp32.npy", run_onnx(OnnxModel.read(fp32), images)[0])

    def make(runtime, file):
        return cells.cell({"runtime": runtime, "file": str(build.folder / file), "fp32": str(fp32),
                           "precision": Path(file).name.partition(".")[0], "images": str(tmp_path / "images.npy"),
                           "reference": str(tmp_path / "fp32.npy")})
    return make


@pytest.mark.parametrize("runtime", [
    "onnxruntime", "openvino", "opencv", pytest.param("tract", marks=pytest.mark.slow)])
def test_a_cell_counts_what_differs_and_what_runs_in_integers(asked, runtime):
    if RUNTIMES[runtime].version() is None:
        pytest.skip(f"{runtime} is not here: {RUNTIMES[runtime].install}")
    fp32, int8 = asked(runtime, "fp32.onnx"), asked(runtime, "int8.cpu.onnx")
    assert fp32["loads"] and fp32["flips"] <= 1 and fp32["images"] == 20 and fp32["int8_layers"] == 0 < fp32["layers"]
    assert "time_over_fp32" not in fp32
    assert int8["loads"] == (runtime != "opencv")
    if runtime == "opencv":
        assert "a Gemm with an int32 bias" in int8["reason"]
        return
    assert (int8["int8_layers"] > 0) == (runtime != "tract") and int8["flips"] <= 5
    low, high = int8["time_ci"]
    assert 0 < low <= int8["time_over_fp32"] <= high


@pytest.mark.parametrize("runtime", ["litert", "tflm"])
def test_runtimes_of_tflite_files_get_what_has_that_form(asked, build, calibration_npz, tmp_path, runtime):
    if RUNTIMES[runtime].version() is None:
        pytest.skip(f"{runtime} is not here: {RUNTIMES[runtime].install}")
    export(str(build.folder.parent / "small.onnx"), int8=True, targets=["litert"], calibration=str(calibration_npz),
           effort="quick", out=tmp_path / "built", accuracy=False)
    fp32, cpu = asked(runtime, "fp32.onnx"), asked(runtime, "int8.cpu.onnx")
    int8 = asked(runtime, str(tmp_path / "built" / "int8.litert.onnx"))
    assert fp32["loads"] and fp32["flips"] <= 1 and fp32["int8_layers"] == 0 < fp32["layers"]
    assert int8["loads"] and int8["flips"] <= 5 and 0 < int8["int8_layers"] <= int8["layers"] == fp32["layers"]
    assert ("time_over_fp32" in int8) == (runtime == "litert")
    assert not cpu["loads"] and "signed int8" in cpu["reason"]


def test_a_builder_that_runs_nothing_tells_the_share_or_its_words(asked):
    if RUNTIMES["tensorrt-rtx"].version() is None:
        pytest.skip("tensorrt-rtx is not installed: pip install 'edge-se[rtx]'")
    assert asked("tensorrt-rtx", "fp32.onnx")["int8_mac_share"] is None
    refused = asked("tensorrt-rtx", "int8.cpu.onnx")
    assert not refused["loads"] and refused["reason"] and "flips" not in refused


def test_what_a_runtime_refuses_is_said_in_one_line(asked, monkeypatch):
    @contextmanager
    def refusing(model):
        raise ModelError("no\n   such\n" + 99 * "operator ", where="x")
        yield

    monkeypatch.setitem(cells.RUNTIMES, "onnxruntime", replace(RUNTIMES["onnxruntime"], open=refusing))
    found = asked("onnxruntime", "fp32.onnx")
    assert found["reason"].startswith("no such operator") and found["reason"].endswith("…")
    assert len(found["reason"]) <= cells.LONGEST and "\n" not in found["reason"]


def test_a_runtime_that_is_slow_gets_fewer_images_and_no_time(asked, monkeypatch):
    slow = replace(RUNTIMES["onnxruntime"], images=7, timed=False, layers=not_told, form="--batch 1",
                   open=lambda model: OnnxRuntime().open(model, Device(threads=1)))
    monkeypatch.setitem(cells.RUNTIMES, "onnxruntime", slow)
    found = asked("onnxruntime", "int8.cpu.onnx")
    assert (found["images"], found["int8_layers"], found["form"]) == (7, None, "--batch 1")
    assert "time_over_fp32" not in found


@pytest.mark.parametrize(("code", "limit", "told"), [
    ("import os\nos.abort()", 60, {"loads": False, "reason": "its process: exit -6: no word"}),
    ("raise SystemExit('out of memory')", 60, {"loads": False, "reason": "its process: exit 1: out of memory"}),
    ("import time\ntime.sleep(60)", 0.5, {"loads": False, "reason": "its process: took more than 0.5 s"}),
    ("print('a word of the runtime')\nprint('{\"loads\": true, \"flips\": 4}')", 60, {"loads": True, "flips": 4})])
def test_a_cell_has_a_process_of_its_own(build, tmp_path, monkeypatch, code, limit, told):
    (tmp_path / "stand_in_cell.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(command, "CELL", "stand_in_cell")
    artifact = build.find("int8", "cpu")
    row = command.measured(RUNTIMES["onnxruntime"], build, artifact, tmp_path, limit)
    assert row == {"runtime": "onnxruntime", "version": RUNTIMES["onnxruntime"].version(), "file": "int8.cpu.onnx",
                   "sha256": artifact.sha256} | told


def test_what_is_there_of_the_same_file_and_version_is_kept(build, monkeypatch, capsys):
    one = replace(RUNTIMES["onnxruntime"], version=lambda: "2.0")
    monkeypatch.setattr(command, "RUNTIMES", {"onnxruntime": one, "tract": replace(RUNTIMES["tract"],
                                                                                   version=lambda: None)})
    first, *others = build.artifacts
    rows = [{"runtime": "onnxruntime", "version": "2.0", "file": first.file, "sha256": first.sha256},
            *({"runtime": "onnxruntime", "version": "1.0", "file": other.file, "sha256": other.sha256}
              for other in others)]
    left = list(command.missing_cells(build, rows, ["onnxruntime", "tract"]))
    assert left == [(one, other) for other in others]
    assert "tract is not here: pip install tract" in capsys.readouterr().err


def test_a_file_with_ranges_of_each_image_is_for_those_that_take_them(build, monkeypatch):
    first, *_ = build.artifacts
    dynamic = replace(first, target="litert-dynamic")
    for name in ("onnxruntime", "litert"):
        monkeypatch.setitem(command.RUNTIMES, name, replace(command.RUNTIMES[name], version=lambda: "1.0"))
    left = list(command.missing_cells(replace(build, artifacts=[first, dynamic]), [], ["onnxruntime", "litert"]))
    assert [(runtime.name, artifact.target) for runtime, artifact in left] == [
        ("onnxruntime", first.target), ("litert", first.target), ("litert", "litert-dynamic")]


@pytest.mark.parametrize(("row", "again"), [
    ({"time_ci": [1.0, 1.2], "reason": None}, False), ({"time_ci": [1.0, 1.3], "reason": None}, True),
    ({"reason": "its process: took more than 100 s"}, True), ({"reason": "no such operator"}, False)])
def test_what_something_else_disturbed_is_measured_again(row, again):
    assert table.disturbed(row) is again


def test_a_row_takes_the_place_of_an_older_one(build):
    document = {"rows": []}
    for runtime, file, version in (("tract", "int8.cpu.onnx", 1), ("onnxruntime", "int8.cpu.onnx", 1),
                                   ("tract", "fp32.onnx", 1), ("tract", "int8.cpu.onnx", 2)):
        document = command.with_row(document, build, {"runtime": runtime, "file": file, "version": version})
    assert [tuple(row.values()) for row in document["rows"]] == [
        ("tract", "fp32.onnx", 1), ("onnxruntime", "int8.cpu.onnx", 1), ("tract", "int8.cpu.onnx", 2)]
    assert document["model"] == build.model and json.dumps(document)


@pytest.mark.parametrize(("again", "kept"), [
    ({"time_ci": [0.5, 0.6]}, "new"), ({"time_ci": [0.2, 0.9]}, "old"), ({}, "old"),
    ({"version": 2}, "new"), ({"sha256": "b"}, "new")])
def test_of_two_times_of_one_file_the_steadier_stays(build, again, kept):
    row = {"runtime": "tract", "file": "fp32.onnx", "version": 1, "sha256": "a"}
    old, new = row | {"time_ci": [0.4, 0.7], "of": "old"}, row | {"of": "new"} | again
    assert [item["of"] for item in command.with_row({"rows": [old]}, build, new)["rows"]] == [kept]


def test_the_table_shows_what_a_cell_says(monkeypatch):
    ran = {"loads": True, "reason": None, "images": 1000, "version": "1.0", "floats": "f32"}
    rows = [
        ran | {"file": "fp32.onnx", "runtime": "onnxruntime", "flips": 0, "layers": 9, "int8_layers": 0,
               "seen_in": "its profile"},
        ran | {"file": "fp32.onnx", "runtime": "openvino", "flips": 1, "layers": None, "int8_layers": None,
               "seen_in": None, "floats": "bf16"},
        {"file": "fp32.onnx", "runtime": "tensorrt-rtx", "version": "3", "loads": True, "reason": None,
         "int8_mac_share": 0.5, "seen_in": "its log"},
        ran | {"file": "int8.cpu.onnx", "runtime": "onnxruntime", "flips": 2, "layers": 9, "int8_layers": 8,
               "seen_in": "its profile", "time_over_fp32": 0.456, "time_ci": [0.44, 0.47], "form": "--batch 1",
               "images": 200},
        ran | {"file": "int8.cpu.onnx", "runtime": "openvino", "flips": 3, "layers": 9, "int8_layers": 9,
               "seen_in": None, "time_over_fp32": 0.3, "time_ci": [0.2, 0.7]},
        {"file": "int8.cpu.onnx", "runtime": "tensorrt-rtx", "version": "3", "loads": False, "reason": "no int32"}]
    document = {"model": "m", "rows": rows, "environment": {"hardware": {"cpu": "a CPU"}}}
    monkeypatch.setattr(table, "measured", lambda name: document)
    lines = table.compatibility_table().splitlines()
    assert lines[0] == "| file | onnxruntime 1.0 | OpenVINO 1.0 | TensorRT for RTX 3 |"
    assert lines[2:4] == ["| `fp32.onnx` | 0; 0/9 | 1; – | loads; 50 % |",
                          "| `int8.cpu.onnx` | 2 of 200; 8/9; 0.46 | 3; 9/9; ~0.30 | refused |"]
    assert lines[5].endswith("~: something else used the machine; the ends of the interval differ by more than a "
                             "factor of 1.25.")
    assert "computed in bf16 by OpenVINO, in f32 by the others." in lines[5]
    assert "- onnxruntime: its profile; files of `export --batch 1`." in lines
    assert "- OpenVINO: it does not tell which kernels it takes." in lines
    assert lines[-1] == "- TensorRT for RTX, `int8.cpu.onnx`: no int32"


def test_every_form_was_tried_in_every_runtime():
    rows = measured("compatibility")["rows"]
    files = {row["file"] for row in rows}
    assert {"fp32.onnx", "fp16.onnx", *(f"int8.{name}.onnx" for name in (
        "cpu", "cpu-avx2", "arm", "openvino", "tensorrt", "tensorrt-fp16", "litert"))} <= files
    assert {(row["file"], row["runtime"]) for row in rows} == {
        (file, name) for file in files for name in RUNTIMES
        if "dynamic" not in file or name in command.RANGES_OF_EACH_IMAGE}


def test_the_emulator_runs_the_onnxruntime_that_the_script_pins(monkeypatch):
    monkeypatch.setattr(sessions, "shutil", SimpleNamespace(which=lambda name: "/usr/bin/qemu"))
    assert sessions.emulated_version().count(".") == 2
    monkeypatch.setattr(sessions, "shutil", SimpleNamespace(which=lambda name: None))
    assert sessions.emulated_version() is None


@pytest.mark.parametrize(("script", "says"), [
    ("sleep 60", "no answer in 1 s"), ("echo a warning >&2; sleep 60", "no answer in 1 s"),
    ("echo one >&2; echo 'the emulator is missing' >&2; exit 2", "the emulator is missing")])
def test_an_emulator_that_gives_no_answer_is_a_message(small_net, tmp_path, monkeypatch, script, says):
    (tmp_path / "run.sh").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "run.sh").chmod(0o755)
    monkeypatch.setattr(sessions, "ARM64", tmp_path)
    monkeypatch.setattr(sessions, "LIMIT_S", 1)
    with sessions.emulated(small_net) as session, pytest.raises(ModelError, match=says):
        session.run(np.zeros((1, 3, 32, 32), np.float32))
