"""Corrupted images in a report: which document belongs to which build, and the geometry of its charts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from edge_se.reporting.report.charts import HUES, SHAPES, ticks
from edge_se.reporting.report.inputs import Robustness
from edge_se.reporting.report.views import drop
from edge_se.reporting.tables import accuracy

LEFT, RIGHT = 15.0, 95.0  # percent of the chart's width
TOP1, DROP = (22.0, 170.0), (204.0, 290.0)  # pixels: from and to of the two panels
APART = 1.3  # percent between marks of the same severity, so that whiskers do not hide each other


def robustness_of(builds: list[dict[str, Any]], documents: Sequence[tuple[str, Robustness]]) -> list[str]:
    """Sets `robustness` of each build, and returns notes on what is left out. Files are matched by SHA-256."""
    notes = []
    for build in builds:
        build["robustness"] = []
    for source, given in documents:
        owners = [build for build in builds if build["fp32_sha256"] == given.files[0].sha256]
        if not owners:
            notes.append(f"{source}: was measured on another FP32 file than those of the builds here (by SHA-256) and "
                         "was left out; run `edge-se robustness` again.")
        for build in owners:
            own = {file["sha256"] for file in build["files"]}
            kept = [item.sha256 in own for item in given.files]
            if not all(kept):
                notes.append(f"{source}: {len(kept) - sum(kept)} of {len(kept)} files are others than those of "
                             f"{build['name']} (by SHA-256) and were left out; run `edge-se robustness` again.")
            build["robustness"].append(_section(given.model_dump(mode="json", exclude={"schema_"}), kept))
    return notes


def _section(document: dict[str, Any], kept: list[bool]) -> dict[str, Any]:
    def those(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row, keep in zip(rows, kept) if keep]

    return document | {"files": those(document["files"]), "overall": those(document["overall"]), "conditions": [
        condition | {"files": those(condition["files"])} for condition in document["conditions"]]}


def lines_of(given: dict[str, Any]) -> list[dict[str, Any]]:
    """The files that are drawn, FP32 and INT8, each with its colour, dash and shape; FP16 is in the table."""
    drawn = [(position, item) for position, item in enumerate(given["files"])
             if position == 0 or item["precision"] == "int8"]
    return [{"position": position, "label": item["label"], "shape": SHAPES.get(item["precision"], "circle"),
             "kind": f"hue{(number - 1) % HUES}" if number else "plain", "dash": number % HUES}
            for number, (position, item) in enumerate(drawn)]


def charts_of(given: dict[str, Any]) -> list[dict[str, Any]]:
    """A chart per corruption, all with the same scales: top-1 above, drop against FP32 below, over the severity."""
    clean, *rest = given["conditions"]
    names = list(dict.fromkeys(condition["corruption"] for condition in rest))
    lines, scales = lines_of(given), _scales(given["conditions"])
    return [_chart(name, [clean, *(one for one in rest if one["corruption"] == name)], lines, scales)
            for name in names]


def _scales(conditions: list[dict[str, Any]]) -> tuple[tuple[float, float], tuple[float, float]]:
    """(least, largest) top-1 and drop of all whiskers, with some air."""
    rows = [row for condition in conditions for row in condition["files"]]
    top1 = [end for row in rows for end in (*row["top1_ci"], row["top1"])]
    drops = [0.0, *(end for row in rows if row["ci_pp"] for end in (*row["ci_pp"], row["drop_pp"]))]

    def airy(values: list[float]) -> tuple[float, float]:
        pad = 0.04 * (max(values) - min(values)) or 0.5
        return min(values) - pad, max(values) + pad
    return airy(top1), airy(drops)


def _chart(name: str, conditions: list[dict[str, Any]], lines: list[dict[str, Any]],
           scales: tuple[tuple[float, float], tuple[float, float]]) -> dict[str, Any]:
    def x(severity: int) -> float:
        return round(LEFT + 4 + (RIGHT - LEFT - 8) * severity / 5, 3)

    def panel(key: str, interval: str, scale: tuple[float, float], box: tuple[float, float]) -> dict[str, Any]:
        def y(value: float) -> float:
            return round(box[1] - (box[1] - box[0]) * (value - scale[0]) / (scale[1] - scale[0]), 2)

        drawn = []
        for number, line in enumerate(lines):
            rows = [(one, one["files"][line["position"]]) for one in conditions]
            marks = [{"x": round(x(one["severity"]) + APART * (number - (len(lines) - 1) / 2), 3), "y": y(row[key]),
                      "interval": [y(end) for end in row[interval]], "title": _title(line["label"], one, row)}
                     for one, row in sorted(rows, key=lambda pair: int(pair[0]["severity"])) if row[interval]]
            drawn.append(line | {"marks": marks, "segments": list(pairwise(marks))})
        return {"lines": drawn, "top": box[0], "bottom": box[1], "zero": y(0) if key == "drop_pp" else None,
                "y_ticks": [(y(tick), f"{tick:g}") for tick in ticks(*scale)]}

    return {"name": name, "left": LEFT, "right": RIGHT, "height": DROP[1] + 42,
            "x_ticks": [(x(one["severity"]), str(one["severity"])) for one in conditions],
            "panels": [panel("top1", "top1_ci", scales[0], TOP1), panel("drop_pp", "ci_pp", scales[1], DROP)],
            "summary": "; ".join(_title(line["label"], one, one["files"][line["position"]])
                                 for one in conditions for line in lines)}


def _title(label: str, condition: dict[str, Any], row: dict[str, Any]) -> str:
    """`int8.cpu at severity 3: top-1 71.90 (71.01–72.77) %, drop +0.12 (-0.20 to +0.44) points`."""
    lost = "" if row["drop_pp"] is None else f", drop {drop(row)} points"
    return f"{label} at severity {condition['severity']}: top-1 {accuracy(row['top1'], row['top1_ci'])} %{lost}"
