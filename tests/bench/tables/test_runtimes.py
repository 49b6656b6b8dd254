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


def test_runtimes_stand_beside_each_other(monkeypatch):
    files = [{"model": "net", "target": "cpu", "images": "some", "n": 400, "runtimes": [
        {"how": "default", "flips": 1, "sqnr_db": 50.04, "measured_by": judge("onnxruntime")},
        {"how": "hint f32", "flips": 2, "sqnr_db": 41.0, "measured_by": judge("openvino")}]}]
    monkeypatch.setattr(runtimes, "measured_if_any", lambda name: {"environment": ENVIRONMENT, "files": files})
    lines = runtimes.simulations_table().splitlines()
    assert lines[0] == "| net | file for | images | onnxruntime, default | OpenVINO, hint f32 |"
    assert lines[2] == "| `net` | `cpu` | 400 | 1; 50.0 | 2; 41.0 |"


def test_what_was_not_measured_is_said(monkeypatch):
    monkeypatch.setattr(runtimes, "measured_if_any", lambda name: None)
    assert runtimes.hints_table() == runtimes.simulations_table() == runtimes.MISSING
