"""`bench` as a program: every runtime, sweeps, streams, fresh processes and the referee."""

import json
from pathlib import Path

import onnxruntime
import pytest
from jsonschema import Draft202012Validator

from edge_se.backends import torch as torch_backend
from edge_se.backends.table import BACKENDS
from edge_se.cli import main
from edge_se.measure import referee
from edge_se.nets.zoo import MODELS
from edge_se.reporting.tables import measurement_rows
from edge_se.steps.bench_rows import mark_fastest

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schema" / "bench-1.json").read_text())
QUICK = ("--min-duration", "0.05", "--json")


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    return exit_.value.code


@pytest.fixture(scope="module")
def built(zoo_net, calibration_npz, tmp_path_factory):
    """A build of a tiny net of the zoo, with FP32, FP16 and INT8 for the CPU and for TensorRT."""
    spec, weights, _ = zoo_net
    out = tmp_path_factory.mktemp("build") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, spec.name, spec)
        patch.delenv("EDGE_SE_DATA", raising=False)
        assert run("export", "--model", spec.name, "--weights", str(weights), "--int8", "--fp16", "--target",
                   "cpu,tensorrt", "--placement", "ends-float", "--calibration", str(calibration_npz),
                   "--out", str(out), "--quiet") == 0
    return out


@pytest.fixture
def bench(built, zoo_net, monkeypatch, capsys):
    """(arguments) -> (document that fits its schema, notes)."""
    spec, weights, _ = zoo_net
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    monkeypatch.setitem(MODELS, spec.name, spec)
    monkeypatch.setattr(torch_backend, "weights_of", lambda name: weights)

    def make(*arguments, expect=0):
        capsys.readouterr()
        assert run("bench", "--model", str(built), *QUICK, *arguments) == expect
        output = capsys.readouterr()
        document = json.loads(output.out) if expect == 0 else {}
        if document:
            Draft202012Validator(SCHEMA).validate(document)
        return document, output.err
    return make


def test_bench_in_torch_takes_fp32_alone(bench):
    document, notes = bench("--backend", "torch")
    assert [(row["precision"], row["backend"]) for row in document["measurements"]] == [("fp32", "torch")]
    assert "int8.cpu.onnx: not timed: runs FP32 only" in notes


def test_bench_in_opencv_tells_which_convolutions_are_integers(bench):
    if reason := BACKENDS["opencv"].missing():
        pytest.skip(reason)
    document, notes = bench("--backend", "opencv")
    found = {row["precision"]: row for row in document["measurements"]}
    assert found["fp32"]["int8_convolutions"] == 0 < found["int8"]["int8_convolutions"]
    assert found["int8"]["int8_mac_share_engine"] == 1.0 and "int8_mac_share_engine" not in found["fp32"]
    count, of = found["int8"]["int8_convolutions"], found["int8"]["convolutions"]
    assert f"int8.cpu in opencv: {count} of {of} convolutions run in INT8" in notes
    assert "int8.tensorrt.onnx: not timed: written for TensorRT: OpenCV" in notes


def test_bench_all_takes_every_runtime_and_says_why_others_cannot(bench, monkeypatch):
    monkeypatch.setattr(torch_backend.shutil, "which", lambda name, **_: None)  # compiling is slow
    document, notes = bench("--backend", "all")
    found = [(row["precision"], row["target"], row["backend"]) for row in document["measurements"]]
    optional = ("openvino", "opencv", "litert")
    assert [item[2] for item in found if item[0] == "fp32" and item[2] not in optional] == ["onnxruntime", "torch"]
    assert ("int8", "cpu", "onnxruntime") in found and "tensorrt" not in {target for _, target, _ in found}
    absent = [line for line in notes.splitlines() if line.startswith("not here, so not timed: ")]
    assert len(absent) == 1 and "onnxruntime-cuda, onnxruntime-" in absent[0]
    assert "torch-compiled" in absent[0]
    for told in ("torch: not timed: int8.cpu.onnx, int8.tensorrt.onnx: runs FP32 only",
                 "onnxruntime: not timed: int8.tensorrt.onnx: written for TensorRT"):
        assert told in notes
    fp32 = [row for row in document["measurements"] if row["precision"] == "fp32"]
    assert [row["p50_ms"] for row in fp32 if row["fastest"]] == [min(row["p50_ms"] for row in fp32)]


def test_bench_all_goes_on_without_a_provider_that_does_not_start(bench, monkeypatch):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("CUDA is really here")
    monkeypatch.setattr(torch_backend, "installed", lambda: False)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    document, notes = bench("--backend", "all", "--precision", "fp32")
    assert "onnxruntime" in {row["backend"] for row in document["measurements"]}
    assert "onnxruntime-cuda: not timed: fp32.onnx: CUDAExecutionProvider does not" in notes
    assert "not here, so not timed: " in notes and "torch" in notes.partition("not here")[2].splitlines()[0]
    _, message = bench("--backend", "onnxruntime-cuda", "--precision", "fp32", expect=2)
    assert "CUDAExecutionProvider does not" in message
    _, message = bench("--backend", "torch", "--precision", "fp32", expect=2)
    assert "pip install 'edge-se[torch]'" in message


def test_bench_sweeps_threads_and_batches(bench):
    document, _ = bench("--backend", "onnxruntime", "--precision", "fp32", "--threads", "1,2", "--batch", "1,3")
    assert [(row["threads"], row["batch"]) for row in document["measurements"]] == [(1, 1), (1, 3), (2, 1), (2, 3)]


def test_bench_of_streams_is_labelled(bench):
    document, _ = bench("--backend", "onnxruntime", "--precision", "fp32,int8", "--scenario", "latency,throughput",
                        "--threads", "2")
    rows = document["measurements"]
    assert [(row["scenario"], row["streams"], row["threads"]) for row in rows] == [
        ("latency", 1, 2), ("latency", 1, 2), ("throughput", 2, 2), ("throughput", 2, 2)]
    columns, cells = measurement_rows(rows)
    assert [row[columns.index("streams")] for row in cells] == ["–", "–", "throughput of 2", "throughput of 2"]
    ratio = float(cells[3][columns.index("x FP32")])
    assert ratio == pytest.approx(rows[3]["throughput_ips"] / rows[2]["throughput_ips"], abs=0.01)


@pytest.fixture(scope="module")
def other(tiny_build):
    """The folder of a build of another model than `built` is."""
    return tiny_build("tiny_other", accuracy=False, targets=["cpu"]).folder


def test_bench_of_several_builds_is_one_run_with_its_report(built, other, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    pytest.importorskip("jinja2", reason="the page needs jinja2")
    page = tmp_path / "report.html"
    assert run("bench", "--model", f"{built},{other}", *QUICK, "--backend", "onnxruntime", "--html", str(page)) == 0
    output = capsys.readouterr()
    rows = json.loads(output.out)["measurements"]
    Draft202012Validator(SCHEMA).validate(json.loads(output.out))
    assert [(row["model"], row["precision"]) for row in rows] == [
        ("tiny_se", "fp32"), ("tiny_se", "fp16"), ("tiny_se", "int8"), ("tiny", "fp32"), ("tiny", "int8")]
    assert all(f"{row['p50_ms']:.3f}" in page.read_text() for row in rows)


def test_bench_of_several_builds_says_once_what_holds_for_all(built, other, capsys, monkeypatch):
    monkeypatch.setattr(torch_backend, "installed", lambda: False)
    assert run("bench", "--model", f"{built},{other}", *QUICK, "--backend", "all", "--precision", "fp32") == 0
    assert capsys.readouterr().err.count("not here, so not timed: ") == 1


def test_bench_refuses_two_builds_of_one_model(built, capsys):
    assert run("bench", "--model", f"{built},{built}", *QUICK) == 2
    assert "is a build of tiny_se, and so is" in capsys.readouterr().err


def test_estimate_of_several_builds(built, other, capsys):
    assert run("bench", "--model", f"{built},{other}", "--estimate", "orin-nano-8gb", "--json") == 0
    assert {row["model"] for row in json.loads(capsys.readouterr().out)["measurements"]} == {"tiny_se", "tiny"}


@pytest.mark.parametrize(("arguments", "message"), [
    (("--threads", "1,zwei"), "write 1,2,4"), (("--threads", "-1"), "--threads"),
    (("--scenario", "latenzy"), "did you mean 'latency'?"), (("--scenario", ","), "--scenario"),
    (("--backend", "al"), "did you mean 'all'?"),
    (("--device", "cuda", "--scenario", "throughput"), "--scenario throughput: is measured on this machine's CPU"),
    (("--device", "cuda", "--fresh"), "--fresh: is measured on this machine's CPU only"),
    (("--device", "cuda", "--referee"), "--referee: is measured on this machine's CPU only")])
def test_bench_refuses(bench, arguments, message):
    assert message in bench(*arguments, expect=2)[1]


def test_bench_in_fresh_processes(bench):
    document, _ = bench("--backend", "onnxruntime", "--precision", "fp32", "--fresh")
    row = document["measurements"][0]
    assert row["load_ms"] > 0 and row["first_ms"] > 0
    assert row["peak_memory_bytes"] is None or row["peak_memory_bytes"] > row["model_memory_bytes"] > 0
    quick, _ = bench("--backend", "onnxruntime", "--precision", "fp32")
    assert "load_ms" not in quick["measurements"][0] and quick["measurements"][0]["peak_memory_bytes"] is None


def test_bench_goes_on_when_a_fresh_process_fails(bench):
    document, notes = bench("--backend", "torch", "--precision", "fp32", "--fresh")  # which knows no tiny net
    assert document["measurements"][0]["peak_memory_bytes"] is None
    assert "torch failed in a fresh process" in notes and "not in the zoo" in notes


def test_bench_with_the_referee(bench):
    pytest.importorskip("mlperf_loadgen", reason=f"LoadGen is not installed: {referee.INSTALL}")
    document, _ = bench("--backend", "onnxruntime", "--precision", "fp32", "--referee", "--batch", "2")
    row = document["measurements"][0]
    assert row["referee"]["p90_ratio"] == pytest.approx(row["p90_ms"] / row["referee"]["p90_ms"])
    columns, cells = measurement_rows([row])
    assert cells[0][columns.index("LoadGen p90 ms")] == f"{row['referee']['p90_ms']:.3f}"


def test_bench_without_the_referee_installed(bench, monkeypatch):
    monkeypatch.setattr(referee, "importable", lambda name: False)
    assert "pip install 'edge-se[referee]'" in bench("--referee", expect=2)[1]


def test_fastest_is_by_latency_or_of_streams_by_throughput_and_needs_a_competitor():
    shared = {"model": "m", "batch": 1, "threads": 1}
    rows = [shared | {"precision": precision, "scenario": scenario, "p50_ms": p50, "throughput_ips": ips}
            for precision, scenario, p50, ips in [
                ("fp32", "latency", 3, 1000), ("fp32", "latency", 2, 500), ("fp32", "throughput", 3, 1000),
                ("fp32", "throughput", 2, 500), ("int8", "latency", 1, 1000)]]
    mark_fastest(rows)
    assert [row.get("fastest") for row in rows] == [False, True, True, False, None]
