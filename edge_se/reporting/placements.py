"""What `--placement auto` measured, as a table and as a sentence about the choice."""

from __future__ import annotations

from typing import Any

from edge_se.reporting.amounts import amount, milliseconds
from edge_se.reporting.tables import DASH, Rows


def placement_rows(search: dict[str, Any]) -> Rows:
    """One row per candidate, the fastest first; those on the Pareto front of flips and latency are marked."""
    timed = search["timed_on"] is not None
    columns = ["placement", "front", "drop, points" if search["labelled"] else "drop at most, points", "flips",
               "SQNR dB"]
    columns += ["ms", f"x {search['reference'].upper()}'s time", "INT8 in the engine"] if timed else []
    rows = []
    for row in sorted(search["candidates"], key=lambda row: (row["ratio"] is None, row["ratio"] or 0.0, row["flips"])):
        cells = [f"{row['name']} (chosen)" if row["chosen"] else row["name"], "yes" if row["on_front"] else "",
                 f"{row['drop_pp']:+.2f} ({row['ci_pp'][0]:+.2f} to {row['ci_pp'][1]:+.2f})",
                 f"{row['flips']} / {row['n']:,}", amount(row["sqnr_db"], 1)]
        rows.append(cells + (_times(row) if timed else []))
    return columns, rows


def _times(row: dict[str, Any]) -> list[str]:
    if row["ratio"] is None:
        return [DASH, "refused" if row["refused"] else "not timed", DASH]
    share = row["int8_mac_share_engine"]
    return [milliseconds(row["p50_ms"]), _ratio(row), DASH if share is None else f"{amount(100 * share, 2)} %"]


def _ratio(row: dict[str, Any]) -> str:
    low, high = row["ratio_ci"]
    return f"{row['ratio']:.3f} ({low:.3f} to {high:.3f})"


def chosen_words(search: dict[str, Any]) -> str:
    """The choice with its intervals, where it was timed, and what makes it worth less."""
    row = next(row for row in search["candidates"] if row["chosen"])
    low, high = row["ci_pp"]
    lost = (f"loses {row['drop_pp']:+.2f} points ({low:+.2f} to {high:+.2f})" if search["labelled"] else
            f"flips {row['drop_pp']:.2f} % of the answers ({low:.2f} to {high:.2f}), the most that it can lose,")
    words = f"{search['target']}: {row['name']} {lost} on {row['n']:,} images of {search['dataset']}"
    if row["ratio"] is None:
        return f"{words}; not timed, since nothing here runs its files (--device names a machine that does)"
    name = search["reference"].upper()
    words = f"{words} and takes {_ratio(row)} of {name}'s time, {milliseconds(row['p50_ms'])} ms, on {row['timed_on']}"
    if row["ratio_ci"][1] >= 1:
        words += f"; that it is faster than {name} is not sure"
    if row["int8_mac_share_engine"] is not None and row["int8_mac_share_engine"] < 1:
        words += "; not all of its INT8 runs in INT8 there: `edge-se bench --explain` names the layers"
    return words
