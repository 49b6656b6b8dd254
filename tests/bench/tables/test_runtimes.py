"""Tables of runtimes from made-up measurements: every figure with what computed it, and no time of a busy machine."""

import pytest

from bench.tables import runtimes

ENVIRONMENT = {"versions": {"onnxruntime": "1.31.1", "openvino": "2026.4.1"},
               "hardware": {"cpu": "a processor", "flags": ["avx2"]}}


def judge(runtime, floats="f32"):
    return {"runtime": runtime, "version": "1", "device": "a processor", "floats": floats}


def hint(file, name, floats, p50, cv, sqnr=40.0):
    return {"file": file, "hint": name, "top1": 90.0, "flips": 3, "sqnr_db": sqnr, "p50_ms": p50, "cv": cv,
            "measured_by": judge("openvino", floats)}


@pytest.mark.parametrize(("cv", "time", "gain"), [(0.01, "2.00", "2.50"), (0.9, "–", "–")])
def test_a_hint_that_is_not_executed_is_told_and_noise_is_not(monkeypatch, cv, time, gain):
    rows = [hint("fp32", "f16", "bf16", 5.0, 0.01, None), hint("int8.openvino", "f16", "bf16", 2.0, cv)]
    monkeypatch.setattr(runtimes, "measured_if_any", lambda name: {"environment": ENVIRONMENT, "nets": [
        {"model": "net", "images": "some", "n": 1000, "rows": rows}]})
    lines = runtimes.hints_table().splitlines()
    assert lines[2] == "| `net` | `fp32` | f16 | bf16 | 90.00 | 3 | – | 5.00 | – |"
    assert lines[3] == f"| `net` | `int8.openvino` | f16 | bf16 | 90.00 | 3 | 40.0 | {time} | {gain} |"
    assert "n = 1,000 of some" in lines[-1] and "on a processor (avx2)" in lines[-1]


def test_drops_of_all_targets_with_the_worst_of_them(monkeypatch):
    def file(target, drop, high, runtime):
        return {"target": target, "drop_pp": drop, "ci_pp": [-0.1, high], "n": 10000, "measured_by": judge(runtime)}

    first = {"model": "a", "dataset": "images", "fp32_top1": 95.0,
             "files": [file("cpu", 0.05, 0.2, "onnxruntime"), file("litert", -0.02, 0.31, "litert")]}
    second = {"model": "b", "dataset": "images", "fp32_top1": 94.5, "files": [file("cpu", 0.07, 0.1, "onnxruntime")]}
    monkeypatch.setattr(runtimes, "measured_if_any", lambda name: {"nets": [first, second]})
    lines = runtimes.drops_table().splitlines()
    assert lines[0] == "| target | `a`, FP32 95.00 % | `b`, FP32 94.50 % |"
    assert lines[2] == "| `cpu` | +0.05 (-0.10 to +0.20) | +0.07 (-0.10 to +0.10) |"
    assert lines[3] == "| `litert` | -0.02 (-0.10 to +0.31) | – |"
    assert "n = 10,000 of images. The largest drop is +0.07, the highest upper end +0.31." in lines[-1]
    assert "`cpu`: onnxruntime 1" in lines[-1] and "`litert`: LiteRT 1" in lines[-1]


def test_runtimes_stand_beside_each_other(monkeypatch):
    files = [{"model": "net", "target": "cpu", "images": "some", "n": 400, "runtimes": [
        {"how": "default", "flips": 1, "sqnr_db": 50.04, "measured_by": judge("onnxruntime")},
        {"how": "hint f32", "flips": 2, "sqnr_db": 41.0, "measured_by": judge("openvino")}]}]
    monkeypatch.setattr(runtimes, "measured_if_any", lambda name: {"environment": ENVIRONMENT, "files": files})
    lines = runtimes.simulations_table().splitlines()
    assert lines[0] == "| net | file for | images | onnxruntime, default | OpenVINO, hint f32 |"
    assert lines[2] == "| `net` | `cpu` | 400 | 1; 50.0 | 2; 41.0 |"


@pytest.mark.parametrize(("rounds", "time", "said"), [
    ([2.0, 2.1, 2.0, 2.0, 2.1, 2.0, 2.0], "0.40 (0.40 to 0.42)", False),
    ([2.0, 3.1, 2.0, 3.0, 2.1, 3.0, 2.0], "–", True), ([2.0, 2.0], "–", True)])
def test_a_file_for_litert_has_its_cost_and_its_time_in_turns(monkeypatch, rounds, time, said):
    fp32 = {"model": "net", "target": "any", "round_p50_ms": [5.0] * len(rounds)}
    int8 = {"model": "net", "target": "litert", "round_p50_ms": rounds, "nodes": 30, "xnnpack_nodes": 29}
    monkeypatch.setattr(runtimes, "measured_if_any", lambda name: {
        "files": [{"target": "litert", "flips": 7, "flips_n": 1000}],
        "gate": {"targets": [{"target": "litert", "drop_pp": 0.1, "ci_pp": [-0.2, 0.4]}]},
        "bench": {"measurements": [fp32, int8], "environment": {
            "versions": {"ai-edge-litert": "2.3.0"}, "hardware": {"cpu": "a processor"}}}})
    lines = runtimes.litert_table().splitlines()
    assert lines[2] == f"| `int8.litert.tflite` | +0.10 (-0.20 to +0.40) | 7 / 1,000 | 30 / 29 | {time} |"
    assert "LiteRT 2.3.0 on a processor" in lines[-1] and ("something else used the machine" in lines[-1]) is said


def test_what_was_not_measured_is_said(monkeypatch):
    monkeypatch.setattr(runtimes, "measured_if_any", lambda name: None)
    assert runtimes.hints_table() == runtimes.simulations_table() == runtimes.litert_table() == runtimes.MISSING
