"""Documents as table rows: columns, then one row of strings each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge_se.core.artifacts import Build
from edge_se.measure.causes import CAUSES
from edge_se.reporting.amounts import amount, mebibytes, milliseconds

Rows = tuple[list[str], list[list[str]]]
DASH = "–"


def build_rows(build: Build) -> Rows:
    """Artifacts of an export. Top-5 has a column where it was measured."""
    columns = ["precision", "target", "file", "MiB", "params", "MFLOPs", "INT8 MACs", "top-1 % (95 % CI)",
               "drop", "agrees with FP32", "flips"]
    fp32 = build.find("fp32")
    rows = []
    for item in build.artifacts:
        drop = None if fp32 is None or item.top1 is None or fp32.top1 is None else fp32.top1 - item.top1
        rows.append([
            item.precision, item.target, item.file, mebibytes(item.bytes), f"{item.params:,}",
            amount(item.flops / 1e6, 1), f"{amount(100 * item.int8_mac_share, 2)} %" if item.int8_mac_share else DASH,
            accuracy(item.top1, item.top1_ci), DASH if item is fp32 or drop is None else f"{drop:+.2f}",
            DASH if item is fp32 else f"{item.agreement_with_fp32:.2f} %",
            DASH if item is fp32 else f"{item.flips} / {item.flips_n:,}"])
    if any(item.top5 is not None for item in build.artifacts):
        place = columns.index("drop")
        columns.insert(place, "top-5 %")
        for row, item in zip(rows, build.artifacts):
            row.insert(place, DASH if item.top5 is None else f"{item.top5:.2f}")
    return columns, rows


def measurement_rows(measurements: list[dict[str, Any]]) -> Rows:
    """Measurements of a bench, with the speed-up over FP32 of the same model, backend, batch, threads and scenario.

    Figures of a GPU, a power sensor or an earlier run get columns if any row has them.
    """
    columns = ["model", "precision", "target", "backend", "batch", "threads", "p50 ms", "p90 ms", "p99 ms", "CV",
               "images/s", "x FP32", "top-1 %", "params", "MFLOPs", "MiB"]
    rows = []
    for item in measurements:
        baseline = next((other for other in measurements if other["precision"] == "fp32" and all(
            other.get(key) == item.get(key) for key in ("model", "backend", "batch", "threads", "scenario"))), None)
        ratio = amount(_speed(item) / _speed(baseline), 2) if baseline else DASH
        rows.append([
            item["model"], item["precision"], item["target"], item["backend"], str(item["batch"]), str(item["threads"]),
            *(milliseconds(item[key]) for key in ("p50_ms", "p90_ms", "p99_ms")), f"{amount(100 * item['cv'], 1)} %",
            amount(item["throughput_ips"], 0), ratio, DASH if item["top1"] is None else f"{item['top1']:.2f}",
            f"{item['params']:,}", amount(item["flops"] / 1e6, 1), mebibytes(item["bytes"])])
    for name, cells in ((name, [cell(item) for item in measurements]) for name, cell in EXTRA.items()):
        if any(cell != DASH for cell in cells):
            columns.append(name)
            rows = [[*row, cell] for row, cell in zip(rows, cells)]
    return columns, rows


def _speed(item: dict[str, Any]) -> float:
    """One over the median latency; of several streams images per second."""
    return float(item["throughput_ips"] if item.get("scenario") == "throughput" else 1 / item["p50_ms"])


def _number(item: dict[str, Any], key: str) -> str:
    return DASH if item.get(key) is None else amount(item[key], 1)


def _memory(item: dict[str, Any], key: str) -> str:
    return DASH if item.get(key) is None else mebibytes(item[key])


def _referee(item: dict[str, Any], key: str, digits: int) -> str:
    return amount(item["referee"][key], digits) if item.get("referee") else DASH


def _energy(item: dict[str, Any]) -> str:
    energy = item.get("energy") or {}
    if energy.get("millijoules") is None:
        return DASH
    return "{} ({}–{})".format(*(amount(energy[key], 3, figures=2) for key in ("millijoules", "low", "high")))


def _earlier(item: dict[str, Any]) -> str:
    return amount(item["p50_before_ms"] / item["p50_ms"], 2) if item.get("p50_before_ms") else DASH


def _percent(item: dict[str, Any], key: str) -> str:
    return DASH if item.get(key) is None else f"{item[key]:.2f}"


def _lost(paired: dict[str, Any] | None) -> str:
    return "{:+.2f} ({:+.2f}–{:+.2f})".format(paired["drop_pp"], *paired["ci_pp"]) if paired else DASH


EXTRA: dict[str, Callable[[dict[str, Any]], str]] = {  # column -> cell
    "streams": lambda item: f"throughput of {item['streams']}" if item.get("scenario") == "throughput" else DASH,
    "fastest": lambda item: "fastest" if item.get("fastest") else DASH,
    "load ms": lambda item: _number(item, "load_ms"),
    "first ms": lambda item: _number(item, "first_ms"),
    "peak MiB": lambda item: _memory(item, "peak_memory_bytes"),
    "of the model": lambda item: _memory(item, "model_memory_bytes"),
    "LoadGen p90 ms": lambda item: _referee(item, "p90_ms", 3),
    "LoadGen images/s": lambda item: _referee(item, "throughput_ips", 0),
    "p90 / LoadGen's": lambda item: _referee(item, "p90_ratio", 3),
    "with copies ms": lambda item: milliseconds(item["wall_ms"]) if item.get("wall_ms") else DASH,
    "mJ (95 % CI)": _energy,
    "x before": _earlier,
    "top-1 here %": lambda item: _percent(item, "top1_here"),
    "top-1 before %": lambda item: _percent(item, "top1_before"),
    "lost since, points (95 % CI)": lambda item: _lost(item.get("drop_from_before")),
}


def estimate_rows(measurements: list[dict[str, Any]]) -> Rows:
    """Rooflines; every line says that it is an estimate, and how sure its figures are."""
    columns = ["model", "precision", "target", "board", "mode", "kind", "batch", "at least, ms", "at most, images/s",
               "compute-bound", "memory-bound", "launches", "figures"]
    rows = []
    for item in measurements:
        kernels = item["kernels_compute_bound"] + item["kernels_memory_bound"]
        rows.append([item["model"], item["precision"], item["target"], item["board"], item["mode"], "estimate",
                     str(item["batch"]), milliseconds(item["p50_ms"]), amount(item["throughput_ips"], 0),
                     f"{item['kernels_compute_bound']} of {kernels}", f"{item['kernels_memory_bound']} of {kernels}",
                     f"{100 * item['launch_share']:.0f} %",
                     ", ".join(sorted({figure["kind"] for figure in item["figures"].values()}))])
    return columns, rows


def accuracy(top1: float | None, interval: tuple[float, float] | list[float] | None) -> str:
    """`95.12 (94.68–95.53)`."""
    if top1 is None:
        return "not measured"
    return f"{top1:.2f} ({interval[0]:.2f}–{interval[1]:.2f})" if interval else f"{top1:.2f}"


def markdown(columns: list[str], rows: list[list[str]], left: int = 1) -> str:
    """The same as a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |",
             "|" + "|".join(" --- " if position < left else " ---: " for position in range(len(columns))) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def explain_rows(document: dict[str, Any]) -> Rows:
    """Causes of `explain`, the longest first. Beside a baseline, compute of all precisions is one cause."""
    comparison = document["comparison"]
    groups = {item["group"]: item for item in comparison["groups"]} if comparison else {}
    rows = [[CAUSES[item["cause"]], str(item["count"]), amount(item["milliseconds"], 4), f"{100 * item['share']:.1f} %",
             *_beside(groups.pop(item["cause"], None))] for item in document["causes"]]
    rows += [[CAUSES.get(group, "compute in all precisions"), DASH, amount(item["milliseconds"], 4),
              f"{100 * item['milliseconds'] / document['kernel_ms']:.1f} %", *_beside(item)]
             for group, item in groups.items()]
    if document["launch_ms"] is not None:
        rows.append(["launches and waits", DASH, amount(document["launch_ms"], 4),
                     f"{100 * document['launch_share']:.1f} % of the run", *_beside(None)])
    columns = ["cause", "layers", "ms", "share", "baseline ms", "x baseline"]
    return (columns, rows) if comparison else (columns[:4], [row[:4] for row in rows])


def _beside(group: dict[str, Any] | None) -> list[str]:
    if group is None:
        return [DASH, DASH]
    return [amount(group["baseline_ms"], 4), f"{group['speedup']:.2f}" if group["speedup"] else DASH]


def sensitivity_rows(units: list[dict[str, Any]]) -> Rows:
    """Units of `sensitivity`, the most costly first, excitations last."""
    columns = ["unit", "kind", "MACs", "SQNR dB", "flips", "brings ms"]
    ordered = sorted(units, key=lambda unit: (unit["kind"] == "se-gate", unit["sqnr_db"]))
    return columns, [[unit["name"], unit["kind"], f"{unit['macs']:,}", f"{unit['sqnr_db']:.1f}", str(unit["flips"]),
                      DASH if unit["brings_ms"] is None else f"{unit['brings_ms']:+.3f}"] for unit in ordered]


def doctor_rows(document: dict[str, Any]) -> Rows:
    """Checks of `doctor` in their order; a check that is ok has no fix."""
    return ["check", "found", "status", "fix"], [
        [check["check"], check["found"], check["status"], check["fix"] or DASH] for check in document["checks"]]


def job_rows(document: dict[str, Any]) -> Rows:
    """Jobs of `doctor`: which ones work here, and what the others lack."""
    return ["job", "works", "lacks"], [[job["job"], "yes" if job["works"] else "no", ", ".join(job["lacks"]) or DASH]
                                       for job in document["jobs"]]
