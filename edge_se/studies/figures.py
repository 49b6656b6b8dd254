"""A study's figures, by matplotlib (the extra `plots`): equal documents give equal files."""

from __future__ import annotations

import io
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_se.core.files import write_bytes
from edge_se.reporting.figures import SETTINGS, require_figures
from edge_se.studies.collect import CONDITIONS
from edge_se.studies.tables import MEASURES, TITLES, evaluations_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWN = {"validation": "top1", "test": "top1", "volatility": "sd_of_differences_pp", "int8": "drop_pp"}
KIND = ".svg"


def draw(document: dict[str, Any], folder: Path) -> list[Path]:
    """Every figure that the document has data for; UnavailableError without matplotlib."""
    require_figures(folder / f"{document['name']}{KIND}")
    import matplotlib

    drawn = []
    with matplotlib.rc_context(SETTINGS):
        for evaluation in evaluations_of(document):
            path = folder / f"{document['name']}-{evaluation}{KIND}"
            _save(_severities(document) if evaluation == "robustness" else _dots(document, evaluation), path)
            drawn.append(path)
        if any(len(cell["curve"]) > 1 for cell in document["cells"] if cell["error"] is None):
            path = folder / f"{document['name']}-validation-curves{KIND}"
            _save(_curves(document), path)
            drawn.append(path)
    return drawn


def _dots(document: dict[str, Any], evaluation: str) -> Figure:
    """Means with t intervals, seeds as small dots: a line per recipe and condition, a colour per model."""
    from matplotlib.figure import Figure

    measure, models = DRAWN[evaluation], document["study"]["models"]
    seeds = defaultdict(list)
    for row in document["rows"]:
        if (row["evaluation"], row["measure"]) == (evaluation, measure):
            seeds[row["model"], _label(row)].append(row["value"])
    rows = [row for row in document["summary"] if (row["evaluation"], row["measure"]) == (evaluation, measure)]
    labels = list(dict.fromkeys(_label(row) for row in rows))
    figure = Figure(figsize=(8, 1.6 + len(labels) * (0.1 + 0.13 * len(models))), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        place = labels.index(_label(row)) + 0.7 * ((models.index(row["model"]) + 0.5) / len(models) - 0.5)
        colour = f"C{models.index(row['model']) % 10}"
        own = seeds[row["model"], _label(row)]
        axes.plot(own, [place] * len(own), ".", color=colour, markersize=3, alpha=0.5)
        if row["low"] is not None:
            axes.plot([row["low"], row["high"]], [place, place], "-", color=colour, linewidth=0.8)
        axes.plot([row["mean"]], [place], "o", color=colour, markersize=4)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel(f"{TITLES[evaluation]}: {MEASURES[measure]}; mean, its 95 % interval over seeds, each seed")
    _legend(axes, models)
    return figure


def _curves(document: dict[str, Any]) -> Figure:
    """Validation top-1 after each epoch, a panel per recipe, a thin line per seed."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    models = document["study"]["models"]
    cells = [cell for cell in document["cells"] if cell["error"] is None]
    recipes = list(dict.fromkeys(cell["recipe"] for cell in cells))
    figure = Figure(figsize=(1.5 + 3.5 * len(recipes), 3.4), layout="constrained")
    panels = figure.subplots(1, len(recipes), sharey=True, squeeze=False)[0]
    for axes, recipe in zip(panels, recipes):
        for cell in cells:
            if cell["recipe"] == recipe:
                axes.plot(range(1, len(cell["curve"]) + 1), cell["curve"], linewidth=0.8,
                          color=f"C{models.index(cell['model']) % 10}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(f"epoch ({recipe})")
    panels[0].set_ylabel("validation top-1 %")
    _legend(panels[0], models)
    return figure


def _severities(document: dict[str, Any]) -> Figure:
    """Top-1 against severity, a panel per corruption; whole lines are FP32, dashed ones INT8."""
    from matplotlib.figure import Figure

    models = document["study"]["models"]
    rows = [row for row in document["summary"]
            if (row["evaluation"], row["measure"]) == ("robustness", "top1") and row.get("severity", 0) > 0]
    corruptions = list(dict.fromkeys(row["corruption"] for row in rows))
    figure = Figure(figsize=(1.2 + 2.1 * len(corruptions), 2.8), layout="constrained")
    panels = figure.subplots(1, len(corruptions), sharey=True, squeeze=False)[0]
    for axes, corruption in zip(panels, corruptions):
        lines = defaultdict(list)
        for row in rows:
            if row["corruption"] == corruption:
                lines[row["model"], row["recipe"], row["file"]].append(row)
        for (model, _, file), own in lines.items():
            own.sort(key=lambda row: row["severity"])
            axes.errorbar([row["severity"] for row in own], [row["mean"] for row in own],
                          yerr=[row["sd"] or 0.0 for row in own], linewidth=0.9, capsize=1.5,
                          linestyle="-" if file.startswith("fp32") else "--", color=f"C{models.index(model) % 10}")
        axes.set_title(corruption, fontsize=8)
        axes.set_xlabel("severity (dashed: INT8)" if axes is panels[0] else "severity")
    panels[0].set_ylabel("top-1 %, ± standard deviation over seeds")
    _legend(panels[0], models)
    return figure


def _label(row: dict[str, Any]) -> str:
    return ", ".join([row["recipe"], *(str(row[name]) for name in CONDITIONS if name in row)])


def _legend(axes: Axes, models: list[str]) -> None:
    from matplotlib.lines import Line2D

    axes.legend(handles=[Line2D([], [], color=f"C{place % 10}", label=model) for place, model in enumerate(models)],
                frameon=False, loc="lower left", bbox_to_anchor=(0, 1.08), ncols=min(4, len(models)))


def _save(figure: Figure, path: Path) -> None:
    content = io.BytesIO()
    figure.savefig(content, format=KIND[1:], metadata={"Date": None})
    write_bytes(path, content.getvalue())
