"""From the cells' figures to a tidy table, means over seeds and differences that are paired by seed."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_se.evaluation.statistics import holm
from edge_se.studies.plan import Cell, Study

CONFIDENCE = 0.95
CONDITIONS = ("target", "placement", "method", "calibration", "file", "corruption", "severity")
COLUMNS = ("cell", "model", "recipe", "seed", "evaluation", "measure", *CONDITIONS, "value", "low", "high", "n")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured thing of a cell. `low`, `high`: 95 % interval over the `n` images, where there is one."""

    evaluation: str
    measure: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    conditions: dict[str, str | int] = field(default_factory=dict)
    measured_by: dict[str, Any] | None = None  # of accuracies (edge_se.core.measured_by)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Several values: mean, standard deviation (n - 1), t interval of the mean, two-sided p of H0: mean = 0.

    A figure is None when the values are too few or all equal.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    p: float | None


def spread(values: Sequence[float]) -> Spread:
    """Student's t over independent values. For pairs, pass their differences."""
    import numpy as np
    from scipy.stats import t, ttest_1samp

    mean, n = float(np.mean(values)), len(values)
    sd = float(np.std(values, ddof=1)) if n > 1 else None
    if sd is None or sd <= 1e-12 * max(1.0, abs(mean)):  # equal values: no t
        return Spread(n=n, mean=mean, sd=None if sd is None else 0.0, low=None, high=None, p=None)
    low, high = t.interval(CONFIDENCE, n - 1, loc=mean, scale=sd / math.sqrt(n))
    return Spread(n=n, mean=mean, sd=sd, low=float(low), high=float(high), p=float(ttest_1samp(values, 0.0).pvalue))


def holm_of_tests(p: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p; None stays, and counts as no test."""
    adjusted = iter(holm([value for value in p if value is not None]))
    return [None if value is None else next(adjusted) for value in p]


def volatility(curve: Sequence[float]) -> float:
    """Standard deviation (n - 1) of the differences from epoch to epoch, in the curve's unit."""
    import numpy as np

    return float(np.std(np.diff(curve), ddof=1))


def tidy(measured: Iterable[tuple[Cell, Iterable[Figure]]]) -> list[dict[str, Any]]:
    """One row per cell and figure, with the conditions under which that figure was measured."""
    return [{"cell": cell.folder, "model": cell.model, "recipe": cell.recipe, "seed": cell.seed,
             "evaluation": figure.evaluation, "measure": figure.measure, **figure.conditions, "value": figure.value,
             **{key: value for key, value in (("low", figure.low), ("high", figure.high), ("n", figure.n))
                if value is not None}}
            for cell, figures in measured for figure in figures]


def judges(figures: Iterable[Figure]) -> dict[str, list[dict[str, Any]]]:
    """What computed the accuracies of each evaluation, each once."""
    found: dict[str, list[dict[str, Any]]] = {}
    for figure in figures:
        own = found.setdefault(figure.evaluation, []) if figure.measured_by else []
        if figure.measured_by and figure.measured_by not in own:
            own.append(figure.measured_by)
    return found


def csv_of(rows: Iterable[dict[str, Any]]) -> str:
    """The tidy table. A cell is empty when its row has no such condition."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def summaries(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean, standard deviation and t interval over seeds, for each model, recipe and measured thing."""
    return [{"model": model, "recipe": recipe, **dict(thing), **_document(spread(list(values.values())), p=False)}
            for (model, recipe, thing), values in _by_seed(rows).items()]


def comparisons(rows: Sequence[dict[str, Any]], study: Study) -> list[dict[str, Any]]:
    """Each model against the baseline in the same recipe, each recipe against its baseline in the same model.

    Differences are taken over the seeds that both have. Holm's family: all comparisons of one evaluation and measure.
    """
    values, compared = _by_seed(rows), []
    for (model, recipe, thing), own in values.items():
        for against in _opponents(model, recipe, study):
            other = values.get((*against, thing), {})
            shared = sorted(own.keys() & other.keys())
            if shared:
                compared.append({"model": model, "recipe": recipe, "against_model": against[0],
                                 "against_recipe": against[1], **dict(thing),
                                 **_document(spread([own[seed] - other[seed] for seed in shared]), p=True)})
    families = defaultdict(list)
    for row in compared:
        families[row["evaluation"], row["measure"]].append(row)
    for family in families.values():
        for row, p in zip(family, holm_of_tests([row["p"] for row in family])):
            row["p_holm"], row["family"] = p, sum(other["p"] is not None for other in family)
    return compared


def _opponents(model: str, recipe: str, study: Study) -> list[tuple[str, str]]:
    opponents = [] if model == study.baseline else [(study.baseline, recipe)]
    baseline = study.baseline_recipe_label
    return opponents if baseline in (None, recipe) else [*opponents, (model, baseline)]


_Thing = tuple[tuple[str, str | int], ...]


def _by_seed(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str, _Thing], dict[int, float]]:
    """(model, recipe, measured thing) -> value of each seed, in the order of the rows."""
    by_seed: dict[tuple[str, str, _Thing], dict[int, float]] = {}
    for row in rows:
        thing = tuple((key, row[key]) for key in ("evaluation", "measure", *CONDITIONS) if key in row)
        by_seed.setdefault((row["model"], row["recipe"], thing), {})[row["seed"]] = row["value"]
    return by_seed


def _document(summary: Spread, *, p: bool) -> dict[str, Any]:
    content: dict[str, Any] = {"n": summary.n, "mean": summary.mean, "sd": summary.sd,
                               "low": summary.low, "high": summary.high}
    return content | {"p": summary.p} if p else content
