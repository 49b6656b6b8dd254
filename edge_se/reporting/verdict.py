"""A gate's document in words, with its verdicts beside accuracy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edge_se.core.measured_by import in_words
from edge_se.reporting.on_device import device_lines, drop_words
from edge_se.reporting.tables import DASH, Rows, accuracy

MEANING = {
    "pass": "the drop is below the margin",
    "fail": "the drop is above the margin",
    "inconclusive": "the interval holds the margin: more images or a wider margin would decide",
}
BESIDE = ("floor", "latency", "int8_share", "size", "baseline")  # lists of verdicts of their own


def boards_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The document of each device that was judged, whose name its model bears; of one device the document itself."""
    if "boards" not in document:
        return [document]
    return [board["document"] | {"model": f"{document['model']} on {board['name']}"} for board in document["boards"]
            if "document" in board]


def not_judged(document: dict[str, Any]) -> list[tuple[str, str]]:
    """(device, why) of each that failed."""
    return [(board["name"], board["error"]) for board in document.get("boards", ()) if "error" in board]


def board_rows(document: dict[str, Any]) -> Rows:
    """A row for each file, a column for each device: verdict and drop."""
    boards = {board["name"]: {row["file"]: row for row in board.get("document", {}).get("targets", ())}
              for board in document["boards"]}
    files = dict.fromkeys(file for rows in boards.values() for file in rows)
    return ["file", *boards], [[file, *(_cell(rows.get(file)) for rows in boards.values())] for file in files]


def _cell(row: dict[str, Any] | None) -> str:
    return f"{row['verdict']} {drop_words(row)}" if row else DASH


def explain(document: dict[str, Any]) -> list[str]:
    """Of each device one paragraph per target, then the verdicts beside accuracy, the verdict last."""
    lines = [line for one in boards_of(document) for line in _explained(one)]
    if "boards" in document:
        lines += [f"{document['model']} on {name}: not judged: {why}" for name, why in not_judged(document)]
        lines.append(f"{document['model']} on all {len(document['boards'])} devices: {document['overall']}")
    return lines


def _explained(document: dict[str, Any]) -> list[str]:
    lines, shared = [], _shared_notes(document)
    for row in document["targets"]:
        low, high = row["ci_pp"]
        lines += [
            f"{row['file']}  {row['verdict'].upper()}: {meaning(row)}",
            f"  drop {row['drop_pp']:+.2f} points, {interval_name(document)} "
            f"[{low:+.2f}, {high:+.2f}] ({document['interval']}), margin {row['margin_pp']:.2f}",
            f"  {row['broken']} broken and {row['fixed']} fixed of n = {row['n']:,} paired predictions on "
            f"{document['dataset']}; exact McNemar p = {row['mcnemar_p']:.3g}",
            *_of_five(document, row),
            f"  {in_words(row.get('measured_by'))}",
            *(f"  {line}" for line in (*device_lines(row), *_stopped(document, row), *class_lines(row),
                                       *_notes(note for note in row.get("notes", ()) if note not in shared)))]
    lines += [f"{kind} {row['verdict'].upper()}: {row['file']} {words(kind, row)}" for kind, row in beside(document)]
    lines += _notes(f"{note} (every file)" for note in shared)
    lines.append(f"{document['model']}: {document['verdict']} (FP32 top-1 {document['fp32_top1']:.2f} %: "
                 f"{in_words(document.get('fp32_measured_by'))})")
    if beside(document):
        lines.append(f"with what stands beside accuracy: {document['overall']}")
    return lines


def meaning(row: dict[str, Any]) -> str:
    """The meaning of a file's verdict."""
    if not row.get("fp32_above_chance", True):
        return "FP32 is not surely better than chance on these images, so nothing was shown"
    return MEANING[row["verdict"]]


def _of_five(document: dict[str, Any], row: dict[str, Any]) -> list[str]:
    """Top-1 and top-5 themselves, where the label may be among the five likeliest classes, beside FP32's.

    FP32's are of the file's own runtime and of the images that decided it; a document of before told one for all.
    """
    if "top5" not in row:
        return []
    fp32 = row.get("fp32_top1", document["fp32_top1"])
    return [f"  top-1 {accuracy(row['top1'], row['top1_ci'])} %, FP32 {fp32:.2f} %; "
            f"top-5 {accuracy(row['top5'], row['top5_ci'])} %, FP32 {row['fp32_top5']:.2f} %"]


def _shared_notes(document: dict[str, Any]) -> list[str]:
    """What is noted of each of several files."""
    first, *others = document["targets"]
    return [note for note in first.get("notes", ()) if others and all(note in row.get("notes", ()) for row in others)]


def _notes(notes: Iterable[str]) -> list[str]:
    return [f"note: {note}" for note in notes]


def interval_name(document: dict[str, Any]) -> str:
    """The interval of a sequential gate holds at all looks together, so it is wider than for a single look."""
    repeated = " repeated" if document.get("design") == "sequential" else ""
    return f"{100 * document['confidence']:g} %{repeated} interval"


def _stopped(document: dict[str, Any], row: dict[str, Any]) -> list[str]:
    if document.get("design") != "sequential":
        return []
    last = "" if row["n"] < document["images"] else ", all of them"
    return [f"decided at look {len(row['looks'])}, after {row['n']:,} of {document['images']:,} images{last}"]


def class_lines(row: dict[str, Any]) -> list[str]:
    """The classes that changed significantly, and no others."""
    return [f"class {item['class']}: drop {item['drop_pp']:+.2f} points ({item['broken']} broken, {item['fixed']} "
            f"fixed of {item['n']:,}; p = {item['p_holm']:.2g} after Holm)"
            for item in row.get("classes", ()) if item["significant"]]


def beside(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(kind, row) of the verdicts on top-1 itself, latency, size and against the baseline."""
    return [(kind, row) for kind in BESIDE for row in document.get(kind, ())]


def words(kind: str, row: dict[str, Any]) -> str:
    """The result in such a row, in words."""
    if "why" in row:
        return str(row["why"])
    if kind == "int8_share":
        return f"has {row['share']:.2f} % of its INT8 MACs in INT8 in the engine, at least {row['limit']:g} is asked"
    if kind == "floor":
        low, high = row["top1_ci"]
        return f"has top-1 {row['top1']:.2f} % [{low:.2f}, {high:.2f}], at least {row['limit']:g} is asked"
    if kind == "baseline":
        low, high = row["ci_pp"]
        return (f"loses {row['drop_pp']:+.2f} points [{low:+.2f}, {high:+.2f}] against {row['baseline']}, margin "
                f"{row['margin_pp']:.2f}")
    if kind == "latency":
        low, high = row["ci"]
        return (f"takes {row['ratio']:.3f} [{low:.3f}, {high:.3f}] of FP32's time in {row['rounds']} turns, "
                f"{row['backend']}, batch {row['batch']}, threads {row['threads']}, limit {row['limit']:g}")
    return f"takes {row['ratio']:.3f} of FP32, limit {row['limit']:g}"


def plan_rows(document: dict[str, Any]) -> Rows:
    """A plan's images by the rate of discordant pairs."""
    columns = ["discordant pairs", "images", "power"]
    return columns, [[f"{row['discordance_pct']:g} %", f"{row['n']:,}", f"{100 * row['power_at_n']:.1f} %"]
                     for row in document["rows"]]


def plan_words(document: dict[str, Any]) -> str:
    """What the figures of a plan mean."""
    sequential = ", sequential: its last look alone is counted" if document["design"] == "sequential" else ""
    return (f"images with which a net without a drop passes at a margin of {document['margin_pp']:g} points with "
            f"{100 * document['power']:g} % probability (one-sided alpha {document['alpha']:g}{sequential}); "
            f"discordant pairs: {document['discordance_from']}")
