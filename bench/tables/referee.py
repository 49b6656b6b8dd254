"""Figures of `bench/referee.py`: bench against MLPerf LoadGen and a bare loop."""

from __future__ import annotations

import statistics
from typing import Any

from bench.tables.measured import measured
from edge_se.reporting.tables import markdown


def referee_table() -> str:
    """Each file: our p90 and throughput over LoadGen's, our loop over a bare one."""
    document = measured("referee")
    columns = ["model", "file", "runtime", "p90 ms", "LoadGen's p90 ms", "ratio (min–max)", "images/s over LoadGen's",
               "loop over a bare one"]
    rows = [[f"`{row['model']}`", f"`{row['file']}`", row["backend"], f"{row['p90_ms']:.3f}",
             f"{row['loadgen_p90_ms']:.3f}", _range(row, "p90_ratio", 3), _range(row, "throughput_ratio", 3),
             f"{row['loop_ratio']:.4f}"] for row in document["rows"]]
    hardware = document["environment"]["hardware"]
    return (f"{markdown(columns, rows, left=3)}\nMedians of {document['repeats']} repeats of {document['seconds']:g} s "
            f"a side, in turns; batch 1, 1 thread, LoadGen {document['loadgen']}, on {hardware['cpu']} "
            f"({hardware['cores']} cores).\n")


def referee_sentence() -> str:
    """How far the ratios of p90 are from one, in the median row and the worst, and the overhead."""
    document = measured("referee")
    off = [abs(row["p90_ratio"] - 1) for row in document["rows"]]
    fastest = min(row["p90_ms"] for row in document["rows"])
    return (f"The p90 of `bench` is {100 * statistics.median(off):.1f} % from LoadGen's in the median row, "
            f"{100 * max(off):.1f} % in the worst. Its loop adds {document['loop_ns']:.0f} ns to a run: "
            f"{100 * document['loop_ns'] / 1e6 / fastest:.3f} % of the shortest p90 below.\n")


def _range(row: dict[str, Any], name: str, digits: int) -> str:
    return f"{row[name]:.{digits}f} ({row[f'{name}_min']:.{digits}f}–{row[f'{name}_max']:.{digits}f})"
