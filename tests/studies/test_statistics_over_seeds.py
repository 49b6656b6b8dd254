"""Means, paired differences and Holm's p against scipy and against sums done by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from edge_se.studies.collect import (
    COLUMNS,
    Figure,
    comparisons,
    csv_of,
    holm_of_tests,
    spread,
    summaries,
    tidy,
    volatility,
)
from edge_se.studies.plan import Cell, Study

SCORES = {"plain": (90.0, 91.0, 92.5), "se": (90.6, 91.9, 92.9), "pre": (89.0, 91.5, 92.0)}


def cell(model, seed, recipe="short"):
    return Cell(model=model, recipe=recipe, recipe_file=Path("short.toml"), epochs=3, seed=seed, curve_start=0,
                key=f"{model}{recipe}{seed}".ljust(64, "0"))


def top1(value, **conditions):
    return Figure(evaluation="int8" if conditions else "validation", measure="top1", value=value, n=100,
                  conditions=conditions)


def study(**changes):
    return Study(**({"name": "made-up", "question": "Which?", "models": ("plain", "se", "pre"), "recipes": ("short",),
                     "seeds": (0, 1, 2), "baseline": "plain"} | changes))


def rows_of(scores=SCORES, recipe="short", offset=0.0):
    return tidy((cell(model, seed, recipe), [top1(value + offset)])
                for model, values in scores.items() for seed, value in enumerate(values))


def test_spread_is_the_t_interval_of_the_mean():
    values = [1.0, 2.0, 4.0, 4.5]
    found = spread(values)
    mean, sd = 11.5 / 4, math.sqrt(sum((value - 11.5 / 4) ** 2 for value in values) / 3)
    half = 3.182446305284263 * sd / 2  # the 97.5 % quantile of t with 3 degrees of freedom, from a printed table
    assert (found.n, found.mean, found.sd) == (4, pytest.approx(mean), pytest.approx(sd))
    assert (found.low, found.high) == (pytest.approx(mean - half), pytest.approx(mean + half))
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_too_few_or_equal_values_tell_no_interval():
    assert spread([3.0]) == spread([3.0]).__class__(n=1, mean=3.0, sd=None, low=None, high=None, p=None)
    equal = spread([0.1 + 0.2, 0.3, 0.3])
    assert (equal.sd, equal.low, equal.high, equal.p) == (0.0, None, None, None)


def test_holm_by_hand_and_against_its_definition():
    assert holm_of_tests([0.01, 0.04, 0.03, None]) == [
        pytest.approx(0.03), pytest.approx(0.06), pytest.approx(0.06), None]
    assert holm_of_tests([0.9, 0.8]) == [1.0, 1.0] and holm_of_tests([]) == []
    random = np.random.default_rng(0)
    for _ in range(20):
        p = list(random.uniform(0, 0.2, 6))
        rejected = np.array([value <= 0.05 for value in holm_of_tests(p)])
        by_steps = np.zeros(6, dtype=bool)
        for rank, place in enumerate(np.argsort(p)):  # Holm's procedure: stop at the first that is too large
            if p[place] > 0.05 / (6 - rank):
                break
            by_steps[place] = True
        assert (rejected == by_steps).all()


def test_volatility_is_the_deviation_of_the_steps():
    assert volatility([50.0, 60.0, 58.0, 64.0]) == pytest.approx(np.std([10.0, -2.0, 6.0], ddof=1))
    assert volatility([50.0, 55.0, 60.0, 65.0]) == 0.0  # a steady climb is calm


def test_differences_are_paired_by_seed():
    found = {row["model"]: row for row in comparisons(rows_of(), study())}
    assert found.keys() == {"se", "pre"}
    for model, row in found.items():
        paired = stats.ttest_rel(SCORES[model], SCORES["plain"])
        interval = paired.confidence_interval(0.95)
        assert row["p"] == pytest.approx(paired.pvalue) and row["n"] == 3
        assert (row["low"], row["high"]) == (pytest.approx(interval.low), pytest.approx(interval.high))
        assert (row["against_model"], row["against_recipe"], row["family"]) == ("plain", "short", 2)
    first, second = sorted(row["p"] for row in found.values())
    assert sorted(row["p_holm"] for row in found.values()) == [pytest.approx(2 * first), pytest.approx(
        max(2 * first, second))]


def test_a_seed_that_one_of_two_lacks_is_left_out():
    rows = [row for row in rows_of() if (row["model"], row["seed"]) != ("plain", 2)]
    found = {row["model"]: row for row in comparisons(rows, study())}
    assert found["se"]["n"] == 2 and found["se"]["mean"] == pytest.approx((0.6 + 0.9) / 2)
    assert [row["n"] for row in summaries(rows)] == [2, 3, 3]


def test_recipes_are_compared_within_a_model():
    rows = rows_of() + rows_of(recipe="calm", offset=1.0)
    found = comparisons(rows, study(recipes=("short", "x/calm.toml"), baseline_recipe="short"))
    pairs = {(row["model"], row["recipe"], row["against_model"], row["against_recipe"]): row for row in found}
    assert len(found) == len(pairs) == 4 + 3
    own = pairs["plain", "calm", "plain", "short"]
    assert own["mean"] == pytest.approx(1.0) and own["p"] is None  # the same in every seed
    assert own["family"] == 4


def test_conditions_are_compared_like_with_like_and_families_stay_apart():
    rows = tidy((cell(model, seed), [top1(value), top1(value - loss, target="cpu", method="mse"),
                                     top1(value - 2 * loss, target="cpu", method="minmax")])
                for model, loss in (("plain", 0.5), ("se", 0.2))
                for seed, value in enumerate(SCORES[model]))
    found = comparisons(rows, study(models=("plain", "se")))
    assert [(row["evaluation"], row.get("method"), row["family"]) for row in found] == [
        ("validation", None, 1), ("int8", "mse", 2), ("int8", "minmax", 2)]
    means = [row["mean"] for row in found]
    assert means[1] - means[0] == pytest.approx(0.3) and means[2] - means[0] == pytest.approx(0.6)


def test_the_csv_has_a_row_per_cell_and_thing():
    lines = csv_of(rows_of()).splitlines()
    assert lines[0] == ",".join(COLUMNS) and len(lines) == 10
    assert lines[1].split(",")[1:6] == ["plain", "short", "0", "validation", "top1"]
    assert lines[1].endswith(",90.0,,,100")
