"""Geometry of the charts; the template draws it as inline SVG.

Drawn here and not by matplotlib, whose SVG holds letters as paths in fixed colours and sizes: a chart of percentages
and a few real `<text>`s keeps its letters' size on a phone and on a desk, follows the theme through CSS, names each
mark to a screen reader, and takes a few kilobytes. Horizontal positions are percent of the chart's width, vertical ones
pixels.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from edge_se.reporting.amounts import milliseconds as shown_ms
from edge_se.reporting.report.views import confidence, drop, telling_classes
from edge_se.reporting.tables import accuracy

LEFT, RIGHT = 14.0, 96.0
TOP, BOTTOM = 14.0, 300.0
ROW, HEAD = 24, 12
NAMES = 27.0  # percent of the width that names of classes take
HUES = 5
SHAPES = {"fp32": "circle", "fp16": "square", "int8": "diamond"}


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """At most `count` + 1 round numbers within [low, high]; 1, 2 or 5 times a power of ten apart."""
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= count)
    first = math.ceil(low / step - 1e-9)
    return [round(position * step, 10) for position in range(first, math.floor(high / step + 1e-9) + 1)]


def pareto_chart(group: dict[str, Any], models: list[str]) -> dict[str, Any]:
    """Latency across, top-1 upwards with its interval, a line through the front."""
    points = group["points"]
    right: float = max(point["p50_ms"] for point in points) * 1.05
    bounds: list[float] = [end for point in points for end in point["top1_ci"] or [point["top1"]]]
    low, high = min(bounds), max(bounds)
    pad = (high - low) * 0.08 or 0.5
    low, high = low - pad, high + pad

    def x(milliseconds: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * milliseconds / right, 3)

    def y(top1: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (top1 - low) / (high - low), 2)

    marks = [{"x": x(point["p50_ms"]), "y": y(point["top1"]), "shape": SHAPES.get(point["precision"], "circle"),
              "hue": models.index(point["model"]) % HUES, "front": point["front"],
              "interval": [y(end) for end in point["top1_ci"]] if point["top1_ci"] else None,
              "title": f"{point['model']} {point['label']} in {point['backend']}: {shown_ms(point['p50_ms'])} ms, "
                       f"top-1 {accuracy(point['top1'], point['top1_ci'])} %"} for point in points]
    front = [mark for mark in marks if mark["front"]]
    return {"marks": marks, "line": list(pairwise(front)), "left": LEFT, "right": RIGHT, "top": TOP,
            "bottom": BOTTOM, "x_ticks": [(x(tick), f"{tick:g}") for tick in ticks(0, right)],
            "y_ticks": [(y(tick), f"{tick:g}") for tick in ticks(low, high)],
            "models": [(models.index(name) % HUES, name) for name in dict.fromkeys(
                point["model"] for point in points)],
            "shapes": [(SHAPES[precision], precision.upper()) for precision in SHAPES
                       if any(point["precision"] == precision for point in points)],
            "summary": f"{len(points)} measurements; on the front, fastest first: "
                       + "; ".join(str(mark["title"]) for mark in front)}


def classes_chart(file: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """A row per class: the drop as a dot, its interval as a line, and no drop as an upright line."""
    rows = [file["classes"][place] for place in telling_classes(file)]
    low = min(-0.1, *(float(row["ci_pp"][0]) for row in rows))
    high = max(0.1, *(float(row["ci_pp"][1]) for row in rows))

    def x(points: float) -> float:
        return round(NAMES + (RIGHT - NAMES) * (points - low) / (high - low), 3)

    height = HEAD + ROW * len(rows)
    return {"rows": [{"name": row["class"], "y": HEAD + ROW * (position + 0.5), "x": x(row["drop_pp"]),
                      "from": x(row["ci_pp"][0]), "to": x(row["ci_pp"][1]), "significant": row["significant"],
                      "title": f"{row['class']}: {drop(row)} points, {row['broken']} broken and {row['fixed']} fixed "
                               f"of {row['n']:,}"} for position, row in enumerate(rows)],
            "zero": x(0), "names": NAMES - 2, "bottom": height, "height": height + 40,
            "x_ticks": [(x(tick), f"{tick:+g}" if tick else "0") for tick in ticks(low, high)],
            "label": f"drop in points ({confidence(document)}); right of 0 is worse",
            "summary": "; ".join(f"{row['class']} {drop(row)}" for row in rows)}


def histogram(tensor: dict[str, Any]) -> dict[str, Any]:
    """Steps of a histogram in a box 96 wide and 24 high (logarithm of the counts), and the range that INT8 covers."""
    counts, low = tensor["counts"], tensor["low"]
    span = (tensor["high"] - low) or 1.0
    most, width = math.log1p(max(counts)) or 1.0, 96 / len(counts)
    steps = "".join(f"V{24 - 24 * math.log1p(count) / most:.1f}H{width * (position + 1):.1f}"
                    for position, count in enumerate(counts))
    start, end = (min(96.0, max(0.0, 96 * (border - low) / span)) for border in tensor["covered"])
    return {"path": f"M0 24{steps}V24Z", "start": f"{start:.1f}", "width": f"{max(0.0, end - start):.1f}"}


def unit_bars(units: list[dict[str, Any]]) -> list[float]:
    """Length of each unit's bar in percent. A longer bar is more noise: dB below the most robust unit."""
    values = [unit["sqnr_db"] for unit in units]
    best, worst = max(values), min(values)
    return [round(100 * (best - value) / ((best - worst) or 1.0), 1) for value in values]


def changes(item: dict[str, Any]) -> list[tuple[str, bool, str]]:
    """(answer with confidence, whether it is right, files that give it) of a flipped image, the commonest first."""
    by_answer: dict[str, list[dict[str, Any]]] = {}
    for other in item["int8"]:
        by_answer.setdefault(other["answer"], []).append(other)
    return [(f"{name} {_range([file['confidence'] for file in files])}", name == item["label"],
             ", ".join(file["file"].removeprefix("int8.") for file in files))
            for name, files in sorted(by_answer.items(), key=lambda pair: -len(pair[1]))]


def _range(confidences: list[float]) -> str:
    low, high = (f"{100 * value:.0f}" for value in (min(confidences), max(confidences)))
    return f"{low} %" if low == high else f"{low}–{high} %"
