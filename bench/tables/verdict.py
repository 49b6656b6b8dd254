"""The time to a verdict beside an earlier commit's, as a table and a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from bench.tables.measured import measured_if_any
from edge_se.core.environment import PACKAGES
from edge_se.reporting.tables import markdown

FILES = ("fp32.onnx", "int8.cpu.onnx", "int8.openvino.onnx", "int8.tensorrt.onnx")
PARTS = {"export": "`export`, without accuracy", **{file: f"evaluation of `{file}`" for file in FILES},
         "gate": "`gate`, answers from the cache"}
Repeat = dict[tuple[str, str], dict[str, Any]]  # (side, part) -> row


def verdict_table() -> str:
    """Seconds of each part before and now, the ratio of wall times and of processor times, medians of the repeats."""
    document = measured_if_any("time_to_verdict")
    if document is None:
        return "Not measured yet.\n"
    repeats = _repeats(document)
    there = [part for part in PARTS if any(("now", part) in own for own in repeats)]
    rows = [_row(PARTS[part], repeats, [part]) for part in there]
    rows += [_row("**evaluation of all files**", repeats, FILES), _row("**whole processes**", repeats, there)]
    hardware, versions = (document["environment"][key] for key in ("hardware", "versions"))
    told = ", ".join(f"{name} {versions[name]}" for name in PACKAGES if name in ("onnxruntime", "openvino"))
    table = markdown(["part", "before, s", "now, s", "ratio", "ratio of processor times", "repeats"], rows)
    return (f"{table}\n`{document['model']}`, {document['images']:,} test images, in turns with commit "
            f"{document['earlier']}, medians of the repeats; {told}, on {hardware['cpu']} ({hardware['cores']} cores, "
            f"{', '.join(hardware['flags'])}).{_alone(document)}\n")


def _repeats(document: dict[str, Any]) -> list[Repeat]:
    made: dict[int, Repeat] = {}
    for row in document["rows"]:
        made.setdefault(row["repeat"], {})[row["side"], row["part"]] = row
    return list(made.values())


def _row(name: str, repeats: Sequence[Repeat], parts: Sequence[str]) -> list[str]:
    """The sum of some parts, in the repeats that have all of them: of files the evaluation alone, else processes."""
    whole = [own for own in repeats if all(("now", part) in own for part in parts)]
    alone = set(parts) <= set(FILES)
    seconds, worked = ("evaluation_s", "evaluation_cpu_s") if alone else ("seconds", "cpu_s")

    def sums(side: str, what: str) -> list[float]:
        return [sum(own[side, part][what] for part in parts) for own in whole]

    def ratio(what: str) -> str:
        return f"{median(old / new for old, new in zip(sums('before', what), sums('now', what))):.2f}"

    return [name, *(f"{median(sums(side, seconds)):.1f}" for side in ("before", "now")), ratio(seconds), ratio(worked),
            str(len(whole))]


def _alone(document: dict[str, Any]) -> str:
    told = [f"{count} of `{file}`" for file, count in document["flips_against_batch_1"].items()]
    return f" Predictions that differ from those at batch 1 in the same runtime: {', '.join(told)}." if told else ""
