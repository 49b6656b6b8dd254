"""Exact probabilities of the verdicts against enumeration, and critical scores that hold them to alpha."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, multinomial, norm

from edge_se.core.errors import EdgeSeError
from edge_se.evaluation.exact import _probability, critical, normal_critical, pass_probability
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
@pytest.mark.parametrize("multiple", [1.0, 1.3, 2.5, 8.0])
def test_a_verdict_at_the_margin_comes_no_more_often_than_alpha(n, margin, alpha, multiple):
    discordance = min(1.0, margin * multiple)
    broken = (discordance + margin) / 2
    shares = [broken, discordance - broken, 1 - discordance]
    chances = {"pass": 0.0, "fail": 0.0, "inconclusive": 0.0}
    for b in range(n + 1):
        for c in range(n + 1 - b):
            verdict = judge(Paired(n=n, broken=b, fixed=c), 100 * margin, alpha).verdict
            chances[verdict] += multinomial.pmf([b, c, n - b - c], n, shares)
    assert 0 < chances["fail"] <= alpha and chances["pass"] <= alpha


@pytest.mark.parametrize("alpha", [0.45, 0.499, 0.4995, 0.49999])
@pytest.mark.parametrize(("n", "margin"), [(20, 0.05), (50, 0.05)])
def test_an_alpha_near_a_half_leaves_both_verdicts_possible(n, margin, alpha):
    assert judge(Paired(n=n, broken=0, fixed=n // 5), 100 * margin, alpha).verdict == "pass"
    assert judge(Paired(n=n, broken=n // 2, fixed=0), 100 * margin, alpha).verdict == "fail"
    for fails in (True, False):
        limit = critical(n, margin, alpha, fails=fails)
        assert math.isfinite(limit.few) and math.isfinite(limit.many)


def largest_chance(n, margin, alpha, fails):
    """Over rates of discordant pairs that the search for critical scores does not try."""
    steps = (1 - margin) * np.geomspace(0.013 / n, 1, 90)
    rates = np.clip(np.concatenate([[margin], margin + steps, 1 - steps]), margin, 1)
    limit = critical(n, margin, alpha, fails=fails)
    return max(_probability(n, margin, limit, float(rate), margin, fails=fails) for rate in rates)


@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize(("n", "margin", "alpha"), [
    (50, 0.0025, 0.025),   # fail came in 3.4 % of the cases
    (50, 0.005, 0.005),    # pass in 0.7 % instead of 0.5 %
    (100, 0.02, 0.005), (100, 0.005, 0.025), (2, 0.5, 0.1), (7, 0.1, 0.025), (30, 0.9, 0.025), (40, 0.2, 0.4),
    (10, 0.0, 0.025), (64, 0.0, 0.025), (100, 0.0, 0.005), (256, 0.0, 0.05),  # 3 % with 64 and more images
    (200, 0.0025, 0.025), (1000, 0.05, 0.005), (4579, 0.005, 0.025)])
def test_alpha_holds_for_every_number_of_images_and_every_rate(n, margin, alpha, fails):
    assert largest_chance(n, margin, alpha, fails) <= alpha


@pytest.mark.parametrize(("n", "margin", "alpha", "fails", "before"), [
    (50, 0.0025, 0.025, True, 0.0337), (64, 0.0, 0.025, True, 0.0300),
    (100, 0.02, 0.005, False, 0.0060), (50, 0.005, 0.005, False, 0.0069)])
def test_the_normal_score_would_not_hold_it(n, margin, alpha, fails, before):
    """So that the test above could fail."""
    chance = max(_probability(n, margin, normal_critical(alpha), float(rate), margin, fails=fails)
                 for rate in np.geomspace(max(margin, 1e-3), 1, 60).clip(margin, 1))
    assert chance == pytest.approx(before, abs=2e-4)


def test_the_critical_score_is_no_stricter_than_it_must():
    limit = critical(1000, 0.005, 0.025, fails=True).few
    counts = [count for count in range(30) if tango_score(Paired(n=1000, broken=count, fixed=0), 0.005) > limit]
    assert binom.sf(counts[0] - 1, 1000, 0.005) <= 0.025 < binom.sf(counts[0] - 2, 1000, 0.005)
    for fails in (True, False):
        assert critical(20_000, 0.3, 0.025, fails=fails).few == pytest.approx(norm.isf(0.025), abs=0.02)
    # With as few discordant pairs as quantization brings, `pass` needs what it always did.
    assert critical(10_000, 0.005, 0.025, fails=False).few == pytest.approx(norm.isf(0.025), abs=0.001)


@pytest.mark.parametrize("alpha", [1e-6, 0.005, 0.025])
def test_it_is_the_normal_one_or_more(alpha):
    for fails in (True, False):
        limit = critical(100, 1.0, alpha, fails=fails)
        assert limit.few == limit.many == norm.isf(alpha)
        limit = critical(2000, 0.005, alpha, fails=fails)
        assert limit.many >= limit.few >= norm.isf(alpha)


def test_where_most_pairs_are_discordant_the_other_score_counts():
    limit = critical(100, 0.005, 0.025, fails=False)
    assert limit.few < limit.many
    assert limit.of(100, np.array([0, 50, 51])).tolist() == [limit.few, limit.few, limit.many]


def test_on_too_few_images_nothing_fails():
    limit = critical(3, 0.5, 0.01, fails=True)
    assert math.isinf(limit.many) or limit.many >= tango_score(Paired(n=3, broken=3, fixed=0), 0.5)
    assert judge(Paired(n=3, broken=3, fixed=0), 50, 0.01).verdict == "inconclusive"


def test_the_interval_never_contradicts_the_verdict():
    for n, margin in ((50, 0.25), (100, 2.0)):
        for broken in range(0, n, 3):
            for fixed in range(0, n - broken + 1, 5):
                judged = judge(Paired(n=n, broken=broken, fixed=fixed), margin, 0.005)
                low, high = judged.ci_pp
                assert {"pass": high < margin, "fail": low > margin,
                        "inconclusive": low <= margin <= high}[judged.verdict]



def test_a_drop_needs_discordant_pairs():
    with pytest.raises(EdgeSeError, match=r"--discordance: a drop of 0\.02"):
        pass_probability(100, 0.005, 0.025, 0.01, 0.02)
