"""How far latencies are from their roofline, as `bench/estimator.py` measured it, in words."""

from __future__ import annotations

import json
from typing import Any

from edge_se.core.assets import asset


def read_estimator() -> dict[str, Any]:
    """What `bench/estimator.py` found over all rows; the rows themselves are in estimator-rows.json beside it."""
    document: dict[str, Any] = json.loads(asset("bench", "results", "estimator.json").read_text())
    return document


def error_in_words(document: dict[str, Any]) -> str:
    """One sentence: how many times the estimate the measured latencies were."""
    every = document["summary"][0]
    return (f"measured latency is {every['geometric_mean']:.1f} times the estimate, between {every['p10']:.1f} and "
            f"{every['p90']:.1f} (10th to 90th percentile of {every['n']} measurements on a CPU whose peaks were "
            "measured)")
