"""The rules of `edge-se lint` as tables, from the rules themselves."""

from __future__ import annotations

from typing import Any

from bench.tables.measured import measured
from edge_se.quantization.lint.base import KINDS, RUNTIMES, seen_in
from edge_se.quantization.lint.table import RULES
from edge_se.reporting.tables import DASH, markdown

BESIDE = ("onnxruntime", "openvino", "tensorrt", "opencv", "any")  # runtimes with a column; tools are for nobody's file


def rules_table() -> str:
    """A row for each rule."""
    rows = [[f"`{rule.name}`", rule.kind, seen_in(rule.runtime, rule.versions), rule.instead, rule.fix,
             "yes" if rule.repair else ""] for rule in RULES.values()]
    return markdown(["rule", "kind", "seen in", "what happens instead", "fix", "`--fix`"], rows, left=6)


def kinds_table() -> str:
    """What the kinds mean."""
    return markdown(["kind", "meaning"], [[kind, meaning] for kind, meaning in KINDS.items()], left=2)


def peers_table() -> str:
    """Which rules the files of other tools break, and what that costs."""
    document = measured("lint_peers")
    rows = []
    for row in document["rows"]:
        version = " ".join(row["versions"].values())
        name = f"{row['name']}{f' ({version})' if version else ''}"
        if "failed" in row:
            rows.append([name, f"made no file: {row['failed']}", *[""] * (len(BESIDE) - 1)])
            continue
        rows.append([name, *(_cell(row, runtime) for runtime in BESIDE)])
    columns = ["file", *(RUNTIMES[name] for name in BESIDE)]
    versions = document["environment"]["versions"]
    told = ", ".join(f"{name} {versions[name]}" for name in ("onnxruntime", "openvino", "onnx") if name in versions)
    table = markdown(columns, rows, left=len(columns))
    return (f"{table}\n`{document['model']}`, calibrated on {document['calibrated']} training images; dB and flips on "
            f"{document['n']} validation images against the file as it is written, of what breaking the rule alone "
            f"costs; {told}.\n")


def _cell(row: dict[str, Any], runtime: str) -> str:
    """The rules of one runtime that a file breaks."""
    if runtime not in row["runtimes"]:
        return DASH
    told = []
    for rule in (rule for rule in row["rules"] if rule["runtime"] == runtime):
        cost = rule["cost"]
        figures = f": {cost['sqnr_db']:.1f} dB, {cost['flips']} flips" if cost else ""
        told.append(f"`{rule['rule']}` ({rule['kind']}{figures})")
    return "; ".join(told) or "none"
