"""Figures of the referee and of the vendors' tools, also from documents of before, which have no such tools."""

import pytest

from bench.tables import referee


@pytest.mark.parametrize(("ratios", "median", "worst"), [((0.99, 1.02, 1.0), 1.0, 2.0), ((0.96, 1.02, 1.03), 3.0, 4.0)])
def test_the_sentence_names_the_worst_row(monkeypatch, ratios, median, worst):
    rows = [{"p90_ratio": ratio, "p90_ms": 2.0 + place} for place, ratio in enumerate(ratios)]
    monkeypatch.setattr(referee, "measured", lambda name: {"rows": rows, "loop_ns": 200.0})
    sentence = referee.referee_sentence()
    assert f"{median} % from LoadGen's in the median row, {worst} % in the worst" in sentence
    assert "adds 200 ns to a run: 0.010 % of the shortest" in sentence
    assert "runtime's own tool" not in sentence


@pytest.fixture
def document():
    """Two rows, of which one has a cross-check."""
    row = {"model": "tiny", "file": "fp32.onnx", "backend": "openvino", "p90_ms": 2.0, "loadgen_p90_ms": 2.0,
           "loop_ratio": 1.0} | {f"{name}_ratio{edge}": 1.0 for name in ("p90", "throughput")
                                 for edge in ("", "_min", "_max")}
    check = {"tool": "benchmark_app", "version": "2026.4", "repeats": 9, "median_ms": 1.9, "p50_ratio": 1.03,
             "p50_ratio_min": 0.98, "p50_ratio_max": 1.1}
    return {"rows": [row | {"cross_check": check}, row | {"cross_check": None}], "repeats": 31, "seconds": 0.3,
            "loadgen": "6", "loop_ns": 200.0, "environment": {"hardware": {"cpu": "x", "cores": 2}}}


def test_the_vendors_tools_have_a_column_and_a_sentence(monkeypatch, document):
    monkeypatch.setattr(referee, "measured", lambda name: document)
    lines = referee.referee_table().splitlines()
    assert lines[0].endswith("| p50 over the vendor's (min–max) |")
    assert lines[2].endswith("| 1.030 (0.980–1.100) |") and lines[3].endswith("| – |")
    assert "LoadGen 6, benchmark_app 2026.4 (9 repeats), on x (2 cores)" in lines[-1]
    assert "3.0 % from that of the runtime's own tool in the median row, 3.0 % in the worst. Its loop" in (
        referee.referee_sentence())


def test_a_document_of_before_has_no_such_column(monkeypatch, document):
    for row in document["rows"]:
        del row["cross_check"]
    monkeypatch.setattr(referee, "measured", lambda name: document)
    table = referee.referee_table()
    assert "vendor" not in table and {line.count("|") for line in table.splitlines()[:4]} == {9}
