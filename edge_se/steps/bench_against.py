"""`bench --against`: an earlier run beside this one, latencies and accuracies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_se.core.errors import EdgeSeError
from edge_se.core.progress import SILENT, Progress
from edge_se.evaluation.baseline import unpacked
from edge_se.evaluation.gate import ALPHA
from edge_se.evaluation.statistics import Paired, drop_interval, mcnemar_p
from edge_se.measure.conditions import require_comparable
from edge_se.steps.bench_rows import KEY, LATENCY

FIX = "give a file that `bench --out` wrote"


def set_beside(document: dict[str, Any], earlier: Mapping[str, Any], progress: Progress = SILENT) -> None:
    """Adds `p50_before_ms` and, of the same runtime and device, `top1_before` to each row that both documents have.

    Where both tell which of the same images were right, `drop_from_before` is the paired loss with its interval. A
    `top1_before` of other images is a note.
    EdgeSeError when conditions differ; what differs and may be compared all the same is a note.
    """
    for difference in require_comparable(earlier, document):
        progress.note(f"--against: {difference}")
    try:
        known = {tuple(({"scenario": LATENCY} | row)[key] for key in KEY): row  # older ones knew no other
                 for row in earlier["measurements"]}
        times = [row["p50_ms"] for row in known.values()]
    except (KeyError, TypeError) as error:
        raise EdgeSeError(f"incomplete ({error!r})", where="--against", fix=FIX) from error
    if not all(isinstance(value, (int, float)) and value > 0 for value in times):
        raise EdgeSeError("a 'p50_ms' is no positive number", where="--against", fix=FIX)
    for row in document["measurements"]:
        before = known.get(tuple(row[key] for key in KEY))
        row["p50_before_ms"] = before and before["p50_ms"]
        if before is not None:
            _set_accuracy_beside(row, before, progress)


def _set_accuracy_beside(row: dict[str, Any], before: Mapping[str, Any], progress: Progress) -> None:
    try:
        if None in (row.get("top1"), before.get("top1")) or any(
                row["measured_by"][key] != before["measured_by"][key] for key in ("runtime", "device")):
            return
        if not 0 <= before["top1"] <= 100:
            raise ValueError(f"a top1 of {before['top1']}")
        row["top1_before"] = float(before["top1"])
        paired = "right" in row and "right" in before
        told_on = {one["judged_on"]["sha256"] for one in (row, before) if paired or "judged_on" in one}
        sizes = {one["top1_n"] for one in (row, before) if one.get("top1_n") is not None}
        if len(told_on) > 1 or (len(sizes) > 1 and not paired):
            progress.note(f"--against: {_label(row)}: its top-1 before is of {_images(before)}, now of {_images(row)}: "
                          "not the same ones")
            return
        if not paired:
            return
        now, then = (unpacked(one["right"], row["top1_n"]) for one in (row, before))
        counts = Paired(n=len(now), broken=int((then & ~now).sum()), fixed=int((~then & now).sum()))
    except (KeyError, TypeError, ValueError) as error:
        raise EdgeSeError(f"its accuracies are incomplete ({error!r})", where="--against", fix=FIX) from error
    low, high = drop_interval(counts, ALPHA)
    row["drop_from_before"] = {"n": counts.n, "broken": counts.broken, "fixed": counts.fixed,
                               "drop_pp": 100 * counts.drop, "ci_pp": [100 * low, 100 * high],
                               "mcnemar_p": mcnemar_p(counts)}
    if low > 0:
        progress.note(f"{_label(row)}: lost {100 * counts.drop:.2f} points of "
                      f"top-1 since then, {100 * low:.2f} to {100 * high:.2f} at {100 * (1 - 2 * ALPHA):g} %")


def _images(row: Mapping[str, Any]) -> str:
    return f"{row['top1_n']:,} images" + (f" of {row['judged_on']['name']}" if "judged_on" in row else "")


def _label(row: Mapping[str, Any]) -> str:
    return f"{row['precision']}.{row['target']} in {row['backend']}"
