"""Which form of file runs where, of `python -m bench.compatibility`."""

from __future__ import annotations

from typing import Any

from bench.compatibility.runtimes import RUNTIMES
from bench.tables.measured import measured
from edge_se.reporting.tables import DASH, markdown

STEADY = 1.25  # times whose intervals are wider were disturbed
PROCESS = "its process: "  # how a reason begins that is not the runtime's own
WIDE = f"the ends of the interval differ by more than a factor of {STEADY:g}"
Row = dict[str, Any]


def compatibility_table() -> str:
    """A row for each form of file, a column for each runtime, and the words of those that refuse one."""
    document = measured("compatibility")
    cells = {(row["file"], row["runtime"]): row for row in document["rows"]}
    files = list(dict.fromkeys(row["file"] for row in document["rows"]))
    names = [name for name in RUNTIMES if any(runtime == name for _, runtime in cells)]
    most = max(row.get("images", 0) for row in document["rows"])
    rows = [[f"`{file}`", *(_cell(cells.get((file, name)), most) for name in names)] for file in files]
    versions = {name: next(row["version"] for row in document["rows"] if row["runtime"] == name) for name in names}
    columns = [f"{RUNTIMES[name].shown} {versions[name]}" for name in names]
    noisy = any(spread(row) > STEADY for row in document["rows"])
    return (f"{markdown(['file', *columns], rows)}\n`{document['model']}`, the first {most:,} test images of CIFAR-10, "
            f"one thread, batch 1, on {document['environment']['hardware']['cpu']}. {_floats(document['rows'])}"
            f"{f' ~: something else used the machine; {WIDE}.' if noisy else ''}\n"
            f"\n{_seen(document['rows'])}{_refused(document['rows'])}")


def spread(row: Row) -> float:
    """The larger end of the interval of a row's time over the smaller one; 1 of a row without a time."""
    low, high = row.get("time_ci", (1, 1))
    return float(high / low)


def disturbed(row: Row) -> bool:
    """Whether something else used the machine: its time is not steady, or its process did not come to an end."""
    return spread(row) > STEADY or str(row["reason"]).startswith(PROCESS)


def _cell(row: Row | None, most: int) -> str:
    """`2; 29/56; 0.58`: flips, convolutions in INT8, time over FP32."""
    if row is None:
        return DASH
    if not row["loads"]:
        return "refused"
    parts = ["loads"] if "flips" not in row else [
        f"{row['flips']}" if row["images"] == most else f"{row['flips']} of {row['images']}"]
    if row.get("int8_mac_share") is not None:
        parts.append(f"{100 * row['int8_mac_share']:.3g} %")
    elif "layers" in row:
        parts.append(DASH if row["int8_layers"] is None else f"{row['int8_layers']}/{row['layers']}")
    if row.get("time_over_fp32") is not None:
        parts.append(f"{'~' if disturbed(row) else ''}{row['time_over_fp32']:.2f}")
    return "; ".join(parts)


def _floats(rows: list[Row]) -> str:
    """Who computes floats in another type than f32."""
    others = dict.fromkeys((RUNTIMES[row["runtime"]].shown, row["floats"]) for row in rows
                           if row.get("floats", "f32") != "f32")
    told = ", ".join(f"in {kind} by {shown}" for shown, kind in others)
    return f"What is not INT8 is computed {told}, in f32 by the others." if told else "Floats are f32."


def _seen(rows: list[Row]) -> str:
    """Where each runtime tells which kernels it takes, and what is done to a file for it."""
    told: dict[str, list[str]] = {}
    for row in rows:
        parts = told.setdefault(row["runtime"], [])
        for part in (row.get("seen_in"), f"files of `export {row['form']}`" if row.get("form") else None):
            if part and part not in parts:
                parts.append(part)
    lines = [f"- {RUNTIMES[name].shown}: {'; '.join(told[name]) or 'it does not tell which kernels it takes'}."
             for name in RUNTIMES if name in told]
    return "Integer kernels are seen in:\n\n" + "\n".join(lines) + "\n"


def _refused(rows: list[Row]) -> str:
    """Files that a runtime refuses in the same words stand together."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if not row["loads"]:
            reasons.setdefault((row["runtime"], row["reason"]), []).append(f"`{row['file']}`")
    lines = [f"- {RUNTIMES[name].shown}, {', '.join(files)}: {reason}"
             for (name, reason), files in sorted(reasons.items(), key=lambda item: list(RUNTIMES).index(item[0][0]))]
    return "\nRefused:\n\n" + "\n".join(lines) + "\n" if lines else ""
