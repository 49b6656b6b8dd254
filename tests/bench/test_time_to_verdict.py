"""The time to a verdict: sums and ratios of whole repeats; a run goes on where code and machine are the same."""

import json

import pytest

from bench import time_to_verdict
from bench.tables import verdict

SECONDS = {"export": (20.0, 10.0), "fp32.onnx": (100.0, 50.0), "int8.cpu.onnx": (30.0, 15.0),
           "int8.openvino.onnx": (60.0, 10.0), "int8.tensorrt.onnx": (90.0, 12.0), "gate": (4.0, 4.0)}


@pytest.fixture
def document():
    rows = [{"repeat": repeat, "part": part, "side": side, "seconds": factor * seconds, "cpu_s": 2 * seconds,
             "evaluation_s": factor * (seconds - 2), "evaluation_cpu_s": seconds - 2}
            for repeat, factor in ((0, 1), (1, 3)) for part, both in SECONDS.items()
            for side, seconds in zip(("before", "now"), both)]
    return {"model": "net", "earlier": "abc", "images": 10_000, "rows": rows, "flips_against_batch_1": {"fp32.onnx": 1},
            "environment": {"hardware": {"cpu": "a processor", "cores": 2, "flags": ["avx2"]},
                            "versions": {"onnxruntime": "1", "openvino": "2", "torch": "3"}}}


@pytest.fixture
def table(monkeypatch, document):
    def made():
        monkeypatch.setattr(verdict, "measured_if_any", lambda name: document)
        lines = verdict.verdict_table().splitlines()
        return {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
                for line in lines if line.startswith("|")}, lines[-1]
    return made


def test_each_part_and_their_sum(table):
    rows, told = table()
    assert rows["evaluation of `int8.openvino.onnx`"] == ["116.0", "16.0", "7.25", "7.25", "2"]
    assert rows["**evaluation of all files**"] == ["544.0", "158.0", "3.44", "3.44", "2"]
    assert rows["**whole processes**"] == ["608.0", "202.0", "3.01", "3.01", "2"]
    assert "2 cores, avx2" in told and "onnxruntime 1, openvino 2," in told
    assert told.endswith("in the same runtime: 1 of `fp32.onnx`.")


def test_a_repeat_that_was_stopped_counts_where_both_sides_are_there(table, document):
    del document["rows"][-1]
    rows, _ = table()
    assert rows["**whole processes**"][:2] == ["304.0", "101.0"] and rows["**whole processes**"][-1] == "1"
    assert rows["`gate`, answers from the cache"][-1] == "1" and rows["**evaluation of all files**"][-1] == "2"


def test_a_short_form_has_no_gate(table, document):
    document["rows"] = [row for row in document["rows"] if row["part"] != "gate"]
    rows, _ = table()
    assert rows["**whole processes**"][:2] == ["600.0", "194.0"] and not any("gate" in name for name in rows)


@pytest.mark.parametrize(("changed", "goes_on"), [({}, True), ({"images": 5}, False), ({"earlier": "b"}, False),
                                                  ({"environment": {}}, False)])
def test_a_run_goes_on_where_everything_is_the_same(monkeypatch, tmp_path, changed, goes_on):
    monkeypatch.setattr(time_to_verdict, "RESULT", tmp_path / "result.json")
    begun = time_to_verdict.continued("a", 100) | {"rows": [{"repeat": 0}]} | changed
    time_to_verdict.RESULT.write_text(json.dumps(begun))
    assert time_to_verdict.continued("a", 100)["rows"] == ([{"repeat": 0}] if goes_on else [])
