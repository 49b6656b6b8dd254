"""Measured latencies of a report: which build each belongs to, and which are on the accuracy/latency Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_se.reporting.report.inputs import Bench

THROUGHPUT = "throughput"  # the scenario of many streams at once
SAME = ("machine", "device", "scenario", "streams", "batch", "threads", "estimated")  # only such rows are compared


def rows_of(builds: list[dict[str, Any]], benches: Sequence[tuple[str, Bench]]) -> tuple[list[dict[str, Any]],
                                                                                           list[str]]:
    """(rows of files that are in `builds`, notes on those that are not); a file is known by hash and target."""
    rows, notes = [], []
    for source, bench in benches:
        foreign = 0
        for item in bench.measurements:
            owners = [(build["name"], file) for build in builds for file in build["files"]
                      if (file["sha256"], file["target"]) == (item.sha256, item.target)]
            foreign += not owners
            for name, file in owners:
                judge = item if item.judged_there else None
                rows.append({
                    "model": name, "file": file["file"], "label": file["label"], "precision": file["precision"],
                    "machine": f"{item.board} {item.mode or ''}".strip() if item.board else bench.machine,
                    "device": bench.device, "top1": judge.top1 if judge else file["top1"],
                    "top1_ci": list(judge.top1_ci or ()) if judge else file["top1_ci"],
                    "measured_by": judge.measured_by if judge else file["measured_by"],
                    "judged_there": judge is not None, "top1_here": file["top1"] if judge else None,
                    "here_measured_by": file["measured_by"] if judge else None,
                    **item.model_dump(include={"backend", "batch", "threads", "scenario", "streams", "p50_ms", "p90_ms",
                                               "p99_ms", "cv", "throughput_ips", "estimated"})})
        if foreign:
            notes.append(f"{source}: {foreign} of {len(bench.measurements)} measurements are of other files than those "
                         "of the builds here (by SHA-256) and were left out; bench the builds again.")
    _set_speedups(rows)
    return rows, notes


def _set_speedups(rows: list[dict[str, Any]]) -> None:
    """`x_fp32`: how many times as fast as FP32 of the same model in the same runtime under the same conditions.

    Compared by the median latency, for throughput by images per second.
    """
    def conditions(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[key] for key in ("model", "backend", *SAME))

    baselines = {conditions(row): row for row in rows if row["precision"] == "fp32"}
    for row in rows:
        base = baselines.get(conditions(row))
        row["x_fp32"] = None if base is None else row["throughput_ips"] / base["throughput_ips"] \
            if row["scenario"] == THROUGHPUT else base["p50_ms"] / row["p50_ms"]


def pareto_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups of comparable latencies with known accuracy. Each row tells whether it is on the front of its group.

    On the front: no other is as accurate and faster, or as fast and more accurate.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if row["top1"] is not None and row["scenario"] != THROUGHPUT:
            groups.setdefault(tuple(row[key] for key in SAME), []).append(row)
    return [dict(zip(SAME, key)) | {"points": [_point(row, _on_front(row, own)) for row in sorted(
        own, key=lambda row: (row["p50_ms"], -row["top1"]))]} for key, own in groups.items()]


def _on_front(row: dict[str, Any], group: list[dict[str, Any]]) -> bool:
    return not any(other["p50_ms"] <= row["p50_ms"] and other["top1"] >= row["top1"]
                   and (other["p50_ms"], other["top1"]) != (row["p50_ms"], row["top1"]) for other in group)


def _point(row: dict[str, Any], front: bool) -> dict[str, Any]:
    return {key: row[key] for key in ("model", "label", "precision", "backend", "p50_ms", "p90_ms", "top1",
                                      "top1_ci", "measured_by")} | {"front": front}


def fastest_of(rows: list[dict[str, Any]], model: str) -> dict[str, Any] | None:
    """The measured INT8 latency of `model` with the largest speed-up over FP32; estimates do not count."""
    own = [row for row in rows if row["model"] == model and row["precision"] == "int8" and not row["estimated"]
           and row["scenario"] != THROUGHPUT and row["x_fp32"] is not None]
    return max(own, key=lambda row: row["x_fp32"], default=None)
