"""Tables of `bench/peers/speed.py`: files for onnxruntime and LiteRT beside those of other tools, on one thread."""

from __future__ import annotations

from typing import Any

from bench.tables.measured import measured
from edge_se.reporting.tables import DASH, markdown

SHOWN = {"ai-edge-litert": "LiteRT", "executorch": "ExecuTorch"}


def speed_table() -> str:
    """A table for each net, with what it comes to."""
    return "\n".join(_table(part) for part in measured("peer_speed")["models"])


def _table(part: dict[str, Any]) -> str:
    columns = ["file", "runtime", "MiB", "top-1 %", "flips", "processor ms", "of each process", "over its FP32"]
    rows = []
    for row in part["rows"]:
        shown = [row["name"], SHOWN.get(row["runtime"], row["runtime"])]
        if "failed" in row:
            rows.append([*shown, *[DASH] * (len(columns) - len(shown))])
            continue
        rows.append([*shown, f"{row['bytes'] / 2**20:.1f}", f"{row['top1']:.1f}", str(row["flips"]),
                     f"{row['cpu_ms']:.2f}", " / ".join(f"{value:.2f}" for value in row["cpu_ms_of_processes"]),
                     f"{row['time_over_fp32']:.2f}"])
    versions = dict(pair for row in part["rows"] for pair in row["versions"].items())
    told = ", ".join(f"{name} {number}" for name, number in versions.items())
    failed = "".join(f"- {row['name']} made no file that runs: {row['failed']}\n"
                     for row in part["rows"] if "failed" in row)
    return (f"### `{part['model']}`, one thread\n\n{markdown(columns, rows, left=2)}\n{failed and failed + chr(10)}"
            f"{''.join(verdict(name, part) for name in dict.fromkeys(own['name'] for own in part['against']))}\n"
            f"n = {part['n']:,} test images, calibrated on the {part['calibrated']} of {part['calibration']}; batch 1, "
            f"{part['processes']} processes of {part['rounds']} turns, on {part['environment']['hardware']['cpu']}; "
            f"{told}.\n")


def verdict(name: str, part: dict[str, Any]) -> str:
    """How a file compares with the fastest of the peers in its runtime, and in any: time, and flips."""
    flips = {row["name"]: row.get("flips") for row in part["rows"]}
    told = []
    for own in (own for own in part["against"] if own["name"] == name):
        fastest, ends = own["fastest_peer"], own["time_over_it_of_processes"]
        of = "in any runtime" if own["of"] == "any" else f"in {SHOWN.get(own['of'], own['of'])}"
        told.append(f"{own['time_over_it']:.2f} of the time ({min(ends):.2f} to {max(ends):.2f}) of the fastest peer "
                    f"{of}, {fastest}, with {flips[name]} flips for {flips[fastest]}")
    return f"- `{name}`: {'; '.join(dict.fromkeys(told))}.\n"
