"""The sentence about the referee names the median and the worst row, to either side."""

import pytest

from edge_se.reporting import referee


@pytest.mark.parametrize(("ratios", "median", "worst"), [((0.99, 1.02, 1.0), 1.0, 2.0), ((0.96, 1.02, 1.03), 3.0, 4.0)])
def test_the_sentence_names_the_worst_row(monkeypatch, ratios, median, worst):
    rows = [{"p90_ratio": ratio, "p90_ms": 2.0 + place} for place, ratio in enumerate(ratios)]
    monkeypatch.setattr(referee, "_result", lambda: {"rows": rows, "loop_ns": 200.0})
    sentence = referee.referee_sentence()
    assert f"{median} % from LoadGen's in the median row, {worst} % in the worst" in sentence
    assert "adds 200 ns to a run: 0.010 % of the shortest" in sentence
