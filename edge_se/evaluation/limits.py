"""Limits on latency, file size and top-1 itself: each a verdict of its own, beside accuracy and never mixed with it.

Sizes are exact. Latencies are those of a bench document, which times all files in turns: the ratios of the turns have
an interval, and one that holds the limit is inconclusive. So is what was not measured, only estimated, or measured with
many streams at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.artifacts import Artifact
from edge_se.core.errors import EdgeSeError
from edge_se.core.files import read_json
from edge_se.evaluation.baseline import board_of
from edge_se.evaluation.gate import SEVERITY
from edge_se.evaluation.statistics import exact_interval, median_ratio

DECIMALS = 9  # of percent: 100 x 0.57 is below 57 in floats
SETUP = ("backend", "batch", "threads")  # what INT8 and FP32 must share to be compared


def size_verdicts(fp32: Artifact, candidates: list[Artifact], limit: float) -> list[dict[str, Any]]:
    """One row per INT8 file, from the bytes of the build's manifest."""
    ratios = [(item, item.bytes / fp32.bytes) for item in candidates]
    return [{"verdict": "pass" if ratio <= limit else "fail", "target": item.target, "file": item.file,
             "ratio": ratio, "limit": limit} for item, ratio in ratios]


def floor_verdicts(rights: Mapping[str, NDArray[np.bool_]], candidates: list[Artifact], limit: float,
                   alpha: float) -> list[dict[str, Any]]:
    """One row per INT8 file from (n,) whether it was right, by file: is its top-1 in percent at least `limit`?

    The exact interval at confidence 1 - 2 alpha decides: pass above the limit, fail below it, else inconclusive.
    """
    rows = []
    for item in candidates:
        right, n = int(rights[item.file].sum()), len(rights[item.file])
        low, high = (100 * end for end in exact_interval(right, n, 1 - 2 * alpha))
        verdict = "pass" if low >= limit else "fail" if high < limit else "inconclusive"
        rows.append({"verdict": verdict, "target": item.target, "file": item.file, "top1": 100 * right / n,
                     "top1_ci": [low, high], "n": n, "limit": limit})
    return rows


def latency_verdicts(fp32: Artifact, candidates: list[Artifact], limit: float, alpha: float,
                     bench: Path) -> list[dict[str, Any]]:
    """One row per INT8 file and condition in the document `bench`. Files are matched by hash and target.

    The median ratio of the turns decides by its interval at confidence 1 - 2 alpha: pass up to the limit, fail above
    it, else inconclusive.
    """
    measured = _measurements(bench)
    rows = []
    for item in candidates:
        pairs = [(own, other) for own in measured if (own["sha256"], own["target"]) == item.key for other in measured
                 if other["sha256"] == fp32.sha256 and all(own[key] == other[key] for key in SETUP)]
        rows += [_of_turns(item, own, other, limit, alpha, bench) | {key: own[key] for key in SETUP}
                 for own, other in pairs]
        if not pairs:
            rows.append(_undecided(item, None, limit, f"{bench.name} holds no measurement of this file and of its "
                                                      "FP32 in one setting"))
    return rows


def require_measured_there(bench: Path, board: str | None) -> None:
    """Raises EdgeSeError where the document `bench` was measured on another board (`board_of`) than this one."""
    told = _document(bench).get("environment")
    device = told.get("device") if isinstance(told, dict) else None
    found = board_of(device) if isinstance(device, dict) and device.get("name") else None
    if found != board:
        raise EdgeSeError(f"was measured on {found or 'no device that it names'}, and files are judged on {board}",
                          where=bench, fix="bench with the same --device")


def share_verdicts(candidates: list[Artifact], limit: float, bench: Path) -> list[dict[str, Any]]:
    """One row per INT8 file that an engine was built from: does that run at least `limit` percent of its INT8 in INT8?

    The least share of its engines counts. Files of which `bench` tells no layers are left out; when it tells of none,
    all of them are inconclusive.
    """
    shares: dict[tuple[str, str], list[float]] = {}
    for row in _document(bench)["measurements"]:
        share = row.get("int8_mac_share_engine") if isinstance(row, dict) else None
        if share is not None:
            if not _is_number(share) or not 0 <= share <= 1:
                raise EdgeSeError(f"int8_mac_share_engine is {share!r:.40}", where=bench, fix="bench again")
            shares.setdefault((str(row.get("sha256")), str(row.get("target"))), []).append(float(share))
    told = [item for item in candidates if item.key in shares]
    if not told:
        return [{"verdict": "inconclusive", "target": item.target, "file": item.file, "share": None, "limit": limit,
                 "why": f"{bench.name} tells no layers of an engine of this file: bench with --explain"}
                for item in candidates]
    least = {item.key: round(100 * min(shares[item.key]), DECIMALS) for item in told}
    return [{"verdict": "pass" if least[item.key] >= limit else "fail", "target": item.target, "file": item.file,
             "share": least[item.key], "limit": limit} for item in told]


def _of_turns(item: Artifact, own: dict[str, Any], other: dict[str, Any], limit: float, alpha: float,
              bench: Path) -> dict[str, Any]:
    """The row of two measurements; `ci` is null where their turns are too few for an interval."""
    turns = own["round_p50_ms"], other["round_p50_ms"]
    if len(turns[0]) != len(turns[1]) or not turns[0]:
        return _undecided(item, own["p50_ms"] / other["p50_ms"], limit,
                          f"{bench.name} tells no turns of these files, so their ratio has no interval: bench again")
    found = median_ratio(*turns, 1 - 2 * alpha)
    ratio, low, high = found["ratio"], found["low"], found["high"]
    if low is None or high is None:
        return _undecided(item, ratio, limit, f"{len(turns[0])} turns are too few for an interval at alpha {alpha:g}")
    verdict = "pass" if high <= limit else "fail" if low > limit else "inconclusive"
    return {"verdict": verdict, "target": item.target, "file": item.file, "ratio": ratio, "ci": [low, high],
            "rounds": len(turns[0]), "limit": limit}


def _undecided(item: Artifact, ratio: float | None, limit: float, why: str) -> dict[str, Any]:
    return {"verdict": "inconclusive", "target": item.target, "file": item.file, "ratio": ratio, "ci": None,
            "limit": limit, "why": why}


def _document(bench: Path) -> dict[str, Any]:
    document = read_json(bench, EdgeSeError, fix="write one with `edge-se bench --out FILE`")
    if not isinstance(document.get("measurements"), list) or document.get("schema") != "edge-se/bench/1":
        raise EdgeSeError("is no document of `bench`", where=bench, fix="write one with `edge-se bench --out FILE`")
    return document


def _measurements(bench: Path) -> list[dict[str, Any]]:
    rows = _document(bench)["measurements"]
    try:
        measured = [{key: row[key] for key in ("sha256", "target", "p50_ms", *SETUP)}
                    | {"round_p50_ms": list(row.get("round_p50_ms") or ())} for row in rows
                    if row.get("estimated") is False and row.get("scenario", "latency") == "latency"]
        if not all(_is_time(value) for row in measured for value in (row["p50_ms"], *row["round_p50_ms"])):
            raise TypeError("a latency is not a positive number of milliseconds")
    except (AttributeError, KeyError, TypeError) as error:
        raise EdgeSeError(f"incomplete measurement ({error!r})", where=bench, fix="bench again") from error
    return measured


def _is_time(value: Any) -> bool:
    """Milliseconds between a femtosecond and decades, so that ratios stay finite."""
    return _is_number(value) and 1e-12 <= value <= 1e12


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def worst(verdicts: list[str]) -> str:
    """The most severe verdict: fail, else inconclusive, else pass."""
    return max(verdicts, key=lambda verdict: SEVERITY[verdict])
