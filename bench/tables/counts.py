"""What docs/models.md says of counts: whether edge-se's are torch's."""

from __future__ import annotations

from typing import Any

from bench.tables.measured import measured


def counts_text() -> str:
    """One sentence on all of torchvision's classifiers, and a line for each that differs or could not be counted."""
    document = measured("counts")
    rows: list[dict[str, Any]] = document["rows"]
    counted = [row for row in rows if row["why_not"] is None]
    equal = [row for row in counted if is_equal(row)]
    versions = document["environment"]["versions"]
    text = (f"Of the {len(rows)} classifiers of torchvision {versions['torchvision']}, {len(counted)} were exported "
            f"and counted. For {len(equal)} of them parameters and MACs equal torch's own (`numel()`, "
            "`FlopCounterMode`) exactly.\n")
    for row in counted:
        if not is_equal(row):
            text += (f"- `{row['model']}`: {row['params']:,} parameters and {row['macs']:,} MACs; torch "
                     f"{row['params_torch']:,} and {row['macs_torch'] - row['macs_of_tables']:,}.\n")
    for row in rows:
        if row["why_not"] is not None:
            text += f"- `{row['model']}`: not counted, {row['why_not']}.\n"
    return text


def is_equal(row: dict[str, Any]) -> bool:
    """Whether both of a row's counts are torch's, tables aside."""
    return bool(row["params"] == row["params_torch"] and row["macs"] + row["macs_of_tables"] == row["macs_torch"])
