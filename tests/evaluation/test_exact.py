"""Exact probabilities of the verdicts against enumeration, and critical scores that hold them to alpha."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, multinomial, norm

from edge_se.core.errors import EdgeSeError
from edge_se.evaluation.exact import critical_score, pass_probability
from edge_se.evaluation.gate import judge
from edge_se.evaluation.statistics import Paired, scores, tango_score


@given(st.integers(1, 20_000), st.integers(0, 20), st.integers(0, 20), st.floats(0.0, 0.9))
def test_scores_of_many_are_those_of_each(n, broken, fixed, delta):
    paired = Paired(n=n + broken + fixed, broken=broken, fixed=fixed)
    found = scores(paired.n, np.array([broken]), np.array([fixed]), delta)[0]
    assert found == pytest.approx(tango_score(paired, delta), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("n", "margin", "drop", "discordance"), [
    (30, 0.3, 0.0, 0.2), (40, 0.2, 0.1, 0.3), (25, 0.25, -0.1, 0.1), (30, 0.1, 0.0, 0.0), (60, 0.1, 0.0, 0.0)])
def test_the_probability_is_that_of_every_outcome(n, margin, drop, discordance):
    broken = (discordance + drop) / 2
    shares = [broken, discordance - broken, 1 - discordance]
    expected = sum(multinomial.pmf([b, c, n - b - c], n, shares) for b in range(n + 1) for c in range(n + 1 - b)
                   if judge(Paired(n=n, broken=b, fixed=c), 100 * margin, 0.025).verdict == "pass")
    assert pass_probability(n, margin, 0.025, discordance, drop) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("n", "margin", "alpha"), [(60, 0.1, 0.025), (100, 0.03, 0.05), (40, 0.2, 0.005)])
@pytest.mark.parametrize("multiple", [1.0, 1.3, 2.5])
def test_a_fail_at_the_margin_comes_no_more_often_than_alpha(n, margin, alpha, multiple):
    discordance = min(1.0, margin * multiple)
    broken = (discordance + margin) / 2
    shares = [broken, discordance - broken, 1 - discordance]
    fails = sum(multinomial.pmf([b, c, n - b - c], n, shares) for b in range(n + 1) for c in range(n + 1 - b)
                if judge(Paired(n=n, broken=b, fixed=c), 100 * margin, alpha).verdict == "fail")
    assert 0 < fails <= 1.02 * alpha


def test_the_critical_score_is_no_stricter_than_it_must():
    critical = critical_score(1000, 0.005, 0.025)
    counts = [count for count in range(30) if tango_score(Paired(n=1000, broken=count, fixed=0), 0.005) > critical]
    assert binom.sf(counts[0] - 1, 1000, 0.005) <= 0.025 < binom.sf(counts[0] - 2, 1000, 0.005)
    assert critical_score(20_000, 0.3, 0.025) == pytest.approx(norm.isf(0.025), abs=0.02)


@pytest.mark.parametrize("alpha", [1e-6, 0.005, 0.025])
def test_it_is_the_normal_one_or_more(alpha):
    assert critical_score(100, 0.0, alpha) == critical_score(100, 1.0, alpha) == norm.isf(alpha)
    assert critical_score(2000, 0.005, alpha) >= norm.isf(alpha)


def test_on_too_few_images_nothing_fails():
    assert math.isinf(critical_score(3, 0.5, 0.01)) or critical_score(3, 0.5, 0.01) >= tango_score(
        Paired(n=3, broken=3, fixed=0), 0.5)
    assert judge(Paired(n=3, broken=3, fixed=0), 50, 0.01).verdict == "inconclusive"

def test_a_drop_needs_discordant_pairs():
    with pytest.raises(EdgeSeError, match=r"--discordance: a drop of 0\.02"):
        pass_probability(100, 0.005, 0.025, 0.01, 0.02)
