"""Figures of the referee: the sentence names the worst row, the table has a line a row."""

import pytest

from bench.tables import referee


@pytest.mark.parametrize(("ratios", "median", "worst"), [((0.99, 1.02, 1.0), 1.0, 2.0), ((0.96, 1.02, 1.03), 3.0, 4.0)])
def test_the_sentence_names_the_worst_row(monkeypatch, ratios, median, worst):
    rows = [{"p90_ratio": ratio, "p90_ms": 2.0 + place} for place, ratio in enumerate(ratios)]
    monkeypatch.setattr(referee, "measured", lambda name: {"rows": rows, "loop_ns": 200.0})
    sentence = referee.referee_sentence()
    assert f"{median} % from LoadGen's in the median row, {worst} % in the worst" in sentence
    assert "adds 200 ns to a run: 0.010 % of the shortest" in sentence


def test_the_table_has_a_line_for_each_row(monkeypatch):
    row = {"model": "tiny", "file": "fp32.onnx", "backend": "openvino", "p90_ms": 2.0, "loadgen_p90_ms": 1.9,
           "loop_ratio": 1.25} | {f"{name}_ratio{edge}": value for name in ("p90", "throughput")
                                  for edge, value in (("", 1.05), ("_min", 0.9), ("_max", 1.2))}
    monkeypatch.setattr(referee, "measured", lambda name: {
        "rows": [row, row], "repeats": 31, "seconds": 0.3, "loadgen": "6",
        "environment": {"hardware": {"cpu": "x", "cores": 2}}})
    lines = referee.referee_table().splitlines()
    assert lines[2] == lines[3] == ("| `tiny` | `fp32.onnx` | openvino | 2.000 | 1.900 | 1.050 (0.900–1.200) "
                                    "| 1.050 (0.900–1.200) | 1.2500 |")
    assert lines[-1] == "Medians of 31 repeats of 0.3 s a side, in turns; batch 1, 1 thread, LoadGen 6, on x (2 cores)."
