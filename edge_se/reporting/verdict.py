"""A gate's document in words."""

from __future__ import annotations

from typing import Any

MEANING = {
    "pass": "the drop is below the margin",
    "fail": "the drop is above the margin",
    "inconclusive": "the interval holds the margin: more images or a wider margin would decide",
}


def explain(document: dict[str, Any]) -> list[str]:
    """One paragraph per target, the verdict last."""
    lines = []
    for row in document["targets"]:
        low, high = row["ci_pp"]
        lines += [
            f"{row['file']}  {row['verdict'].upper()}: {MEANING[row['verdict']]}",
            f"  drop {row['drop_pp']:+.2f} points, {100 * document['confidence']:g} % interval "
            f"[{low:+.2f}, {high:+.2f}] ({document['interval']}), margin {row['margin_pp']:.2f}",
            f"  {row['broken']} broken and {row['fixed']} fixed of n = {row['n']:,} paired predictions on "
            f"{document['dataset']}; exact McNemar p = {row['mcnemar_p']:.3g}",
        ]
    lines.append(f"{document['model']}: {document['verdict']} (FP32 top-1 {document['fp32_top1']:.2f} %)")
    return lines
