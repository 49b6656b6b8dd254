"""Tables of the error of estimates hold the figures that were measured; the shipped summary is that of the rows."""

import math

import pytest

from bench.tables import estimates
from edge_se.measure.boards import Mode


def group(**changes):
    return {"group": "all", "variant": "machine", "n": 40, "geometric_mean": 2.04, "p10": 1.11, "p90": 5.96,
            "min": 1.0, "max": 7.0, "rank_correlation": 0.93} | changes


def row(net, precision, batch, ratio, measured):
    return {"net": net, "backend": "openvino", "precision": precision, "batch": batch, "macs": 2_000_000,
            "measured_ms": measured, "ratio": {"machine": ratio}}


def test_tables_hold_the_figures_of_the_document(monkeypatch):
    document = {"summary": [group(), group(group="all, main_memory", variant="main_memory", geometric_mean=0.5)],
                "rows": [row("net", "fp32", 1, 1.5, 3.0), row("net", "int8", 1, 4.25, 1.25),
                         row("net", "fp32", 8, 1.1, 20.0), row("net", "int8", 8, 2.0, 9.0)],
                "noise": {"cv_median": 0.031, "cv_max": 0.9, "cv_of_rounds_median": 0.01, "cv_of_rounds_max": 0.2}}
    monkeypatch.setattr(estimates, "read_estimator", lambda: document)
    monkeypatch.setattr(estimates, "read_rows", lambda: document)
    errors = estimates.error_table().splitlines()
    assert errors[2] == "| all | 40 | 2.04 | 1.11 | 5.96 | 1.00 | 7.00 | 0.93 |"
    assert errors[3].startswith("| all, with the bandwidth of main memory | 40 | 0.50 |")
    assert "within a row: 3.1 % in the median, 90.0 % at most" in errors[-1]
    assert estimates.ratios_table().splitlines()[2:] == [
        "| `net` | 2 | 1 | 1.50 (3.00) | 4.25 (1.25) |", "| `net` | 2 | 8 | 1.10 (20.00) | 2.00 (9.00) |"]


def test_the_shipped_summary_is_that_of_its_rows():
    rows, every = estimates.read_rows()["rows"], estimates.read_estimator()["summary"][0]
    ratios = sorted(row["measured_ms"] / row["estimate_ms"]["machine"] for row in rows)
    assert every["n"] == len(rows)
    assert every["geometric_mean"] == pytest.approx(math.prod(ratios) ** (1 / len(ratios)))
    assert every["p10"] == pytest.approx(ratios[math.ceil(0.1 * len(ratios)) - 1])
    assert every["p90"] == pytest.approx(ratios[math.ceil(0.9 * len(ratios)) - 1])


def test_the_shipped_peaks_are_those_of_the_microbenchmarks_alone():
    document, chains = estimates.read_estimator(), estimates.read_rows()["chains"]
    machine = Mode(**document["figures"]["modes"]["machine"])
    fastest = {precision: max(chain["tops"] for chain in chains if chain["precision"] == precision)
               for precision in ("fp32", "int8")}
    assert machine.int8_tops is not None
    assert (machine.fp16_tflops.value / 2, machine.int8_tops.value) == pytest.approx(tuple(fastest.values()))
    assert machine.memory_gbs.value == max(document["figures"]["gbs"]["cache"].values())
    assert {figure.kind for figure in (machine.fp16_tflops, machine.int8_tops, machine.memory_gbs)} == {"computed"}
