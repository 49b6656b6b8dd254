"""The time to a verdict beside an earlier commit's, as a table and a sentence."""

from __future__ import annotations

from statistics import median
from typing import Any

from bench.tables.measured import measured_if_any
from edge_se.core.environment import PACKAGES
from edge_se.reporting.tables import markdown

PARTS = {"export": "`export`, without accuracy", "fp32.onnx": "`fp32.onnx`", "int8.cpu.onnx": "`int8.cpu.onnx`",
         "int8.openvino.onnx": "`int8.openvino.onnx`", "int8.tensorrt.onnx": "`int8.tensorrt.onnx`",
         "gate": "`gate`, answers from the cache"}


def verdict_table() -> str:
    """Seconds of each part before and now, the ratio of wall times and of processor times, medians of the repeats."""
    document = measured_if_any("time_to_verdict")
    if document is None:
        return "Not measured yet.\n"
    repeats = _whole_repeats(document)
    rows = [_row(name, [{side: [own[side, part]] for side in ("before", "now")} for own in repeats])
            for part, name in PARTS.items() if all((("now", part) in own) for own in repeats)]
    rows.append(_row("**together**", [{side: [row for (of, _), row in own.items() if of == side]
                                       for side in ("before", "now")} for own in repeats]))
    hardware, versions = (document["environment"][key] for key in ("hardware", "versions"))
    told = ", ".join(f"{name} {versions[name]}" for name in PACKAGES if name in ("onnxruntime", "openvino"))
    many = f"medians of {len(repeats)} repeats" if len(repeats) > 1 else "one repeat"
    table = markdown(["part", "before, s", "now, s", "ratio", "ratio of processor times"], rows)
    return (f"{table}\n`{document['model']}`, {document['images']:,} test images, {many}, in turns with commit "
            f"{document['earlier']}; {told}, on {hardware['cpu']} ({hardware['cores']} cores, "
            f"{', '.join(hardware['flags'])}).{_alone(document)}\n")


def _whole_repeats(document: dict[str, Any]) -> list[dict[tuple[str, str], dict[str, Any]]]:
    """(side, part) -> row, of each repeat that has as many rows as the first."""
    made: dict[int, dict[tuple[str, str], dict[str, Any]]] = {}
    for row in document["rows"]:
        made.setdefault(row["repeat"], {})[row["side"], row["part"]] = row
    return [own for own in made.values() if len(own) == len(made[0])]


def _row(name: str, repeats: list[dict[str, list[dict[str, Any]]]]) -> list[str]:
    def sums(side: str, what: str) -> list[float]:
        return [sum(row[what] for row in own[side]) for own in repeats]

    def ratio(what: str) -> str:
        return f"{median(old / new for old, new in zip(sums('before', what), sums('now', what))):.2f}"

    return [name, *(f"{median(sums(side, 'seconds')):.1f}" for side in ("before", "now")), ratio("seconds"),
            ratio("cpu_s")]


def _alone(document: dict[str, Any]) -> str:
    told = [f"{count} of `{file}`" for file, count in document["flips_against_batch_1"].items()]
    return f" Predictions that differ from those at batch 1 in the same runtime: {', '.join(told)}." if told else ""
