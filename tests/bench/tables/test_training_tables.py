"""The tables of docs/training.md, from documents made by hand."""

import pytest

from bench.tables import measured, training_parts
from edge_se.core.files import write_json

ENVIRONMENT = {"versions": {"torch": "2.13.0"}, "hardware": {"cpu": "CPU"}, "threads": 1}
DOCUMENT = {"model": "net", "validation": 5000, "target": 89.0, "environment": ENVIRONMENT,
            "recipes": {"old": {"name": "slow", "epochs": 18}, "new": {"name": "quick", "epochs": 11}},
            "top1": {"old": [88.9, 89.1], "new": [89.5, 89.25]}}
WHOLE = {"old": [1000.0, 1040.4], "new": [700.0, 660.0]}


@pytest.mark.parametrize(("new", "ratio", "cell", "told"), [
    ([640.2, 660.0], 0.65, "640 / 660", "The new recipe gets there in 0.65 of the old one's time."),
    ([640.2, None], None, "640 / never",
     "Not every seed gets there: the new recipe takes 0.67 of the old one's time and ends +0.38 points from it.")])
def test_time_to_an_accuracy(tmp_path, monkeypatch, new, ratio, cell, told):
    monkeypatch.setattr(measured, "RESULTS", tmp_path)
    assert training_parts.time_to_accuracy_table() == training_parts.NONE
    times = {"old": [1000.0, 1040.4], "new": new, "ratio": ratio}
    runs = [{"side": side, "epochs": [{"processor_seconds": 1.0}, {"processor_seconds": spent}]}
            for seed in range(2) for side, spent in ((side, WHOLE[side][seed]) for side in WHOLE)]
    write_json(tmp_path / "time_to_accuracy-x.json", DOCUMENT | {"processor_seconds": times, "runs": runs})
    table = training_parts.time_to_accuracy_table()
    assert "| `slow` | 18 | 88.90 / 89.10 | 1,000 / 1,040 | 1,000 / 1,040 |" in table
    assert f"| `quick` | 11 | 89.50 / 89.25 | 700 / 660 | {cell} |" in table and f" {told} `net`, n = 5,000" in table
    assert "The target is 89.00 %" in table
