"""The rates that the document quotes are those of the simulation, and the stated ones hold."""

import math

import pytest

from bench.tables import gate_errors
from edge_se.evaluation.gate import ALPHA, MAX_DROP
from edge_se.evaluation.simulation import rates


def row(**changes):
    return {"design": "fixed", "images": 2000, "drop_pp": 0.5, "discordance_pct": 1.0, "passes": 0.02, "fails": 0.0125,
            "inconclusive": 0.9675, "mean_images": 1999.6} | changes


def test_the_document_shows_the_figures(monkeypatch):
    document = {"sets": 10_000, "margin_pp": 0.5, "alpha": 0.025, "looks": 10, "rows": [
        row(), row(design="sequential", passes=0.0225), row(drop_pp=0.0, fails=0.9)]}
    monkeypatch.setattr(gate_errors, "read_gate_errors", lambda: document)
    table = gate_errors.error_table().splitlines()
    assert table[2] == "| 2,000 | 0.5 | 1 % | fixed | 2.00 % | 1.25 % | 96.75 % | 2,000 |"
    assert table[-1].startswith("10,000 simulated sets of pairs per row; margin 0.5 points, one-sided alpha 2.5 %")
    assert ("fixed: pass at most 2.00 %, fail at most 1.25 %; sequential: pass at most 2.25 %, fail at most 1.25 % "
            "(each rate ±0.31)") in gate_errors.error_sentence()


def test_the_stated_rates_hold():
    document = gate_errors.read_gate_errors()
    assert (document["margin_pp"], document["alpha"], document["sets"]) == (MAX_DROP, ALPHA, 10_000)
    most = ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / document["sets"])
    for item in document["rows"]:
        assert item["drop_pp"] > MAX_DROP or item["fails"] <= most, item
        assert item["drop_pp"] < MAX_DROP or item["passes"] <= most, item
    assert {item["design"] for item in document["rows"]} == {"fixed", "sequential"}


@pytest.mark.slow
def test_the_shipped_rows_are_those_of_the_code():
    document = gate_errors.read_gate_errors()
    for item in document["rows"][::7]:
        found = rates(images=item["images"], margin=MAX_DROP / 100, alpha=ALPHA, drop=item["drop_pp"] / 100,
                      discordance=item["discordance_pct"] / 100, sets=document["sets"], seed=item["seed"],
                      sequential=item["design"] == "sequential")
        assert (found.passes, found.fails, found.mean_images) == (item["passes"], item["fails"], item["mean_images"])
