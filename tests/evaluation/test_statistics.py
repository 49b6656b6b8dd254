"""Statistics against closed forms, other implementations, hand-computed values and simulation."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from edge_se.evaluation.statistics import (
    Paired,
    drop_interval,
    mcnemar_p,
    median_ratio,
    pair,
    tango_score,
    wilson_interval,
)

Z = float(norm.isf(0.025))


@st.composite
def counts(draw, largest=20_000):
    n = draw(st.integers(1, largest))
    broken = draw(st.one_of(st.integers(0, min(n, 20)), st.integers(0, n)))
    return Paired(n=n, broken=broken, fixed=draw(st.integers(0, n - broken)))


def score(paired, delta):
    """Tango's statistic with the constrained maximum-likelihood estimate found by search, not by formula."""
    n, b, c = paired.n, paired.broken, paired.fixed

    def slope(q):  # derivative of the log-likelihood in q = P(fixed), with P(broken) = q + delta
        return b / (q + delta) + c / q - 2 * (n - b - c) / (1 - 2 * q - delta)
    low, high = max(0.0, -delta) + 1e-13, (1 - delta) / 2 - 1e-13
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return (b - c - n * delta) / math.sqrt(n * (2 * low + delta * (1 - delta)))


def test_pair():
    labels = np.array([0, 1, 2, 3, 4], np.uint8)
    reference, candidate = np.array([0, 1, 2, 9, 9]), np.array([0, 9, 9, 3, 8])
    assert pair(reference, candidate, labels) == Paired(n=5, broken=2, fixed=1)
    assert pair(candidate, reference, labels) == Paired(n=5, broken=1, fixed=2)
    assert Paired(n=5, broken=2, fixed=1).drop == pytest.approx(0.2)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (7, 10), (9_350, 10_000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_is_its_closed_form(successes, n, confidence):
    z, share = norm.isf((1 - confidence) / 2), successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    expected = (max(0.0, middle - half), min(1.0, middle + half))
    assert wilson_interval(successes, n, confidence) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("broken", "fixed", "p"), [
    (0, 0, 1.0), (5, 5, 1.0), (5, 0, 2 / 32), (0, 5, 2 / 32), (8, 2, 2 * (1 + 10 + 45) / 1024), (1, 0, 1.0)])
def test_mcnemar_by_hand(broken, fixed, p):
    assert mcnemar_p(Paired(n=1000, broken=broken, fixed=fixed)) == pytest.approx(p)


@given(counts(500))
def test_mcnemar_is_the_two_sided_sign_test(paired):
    m, least = paired.broken + paired.fixed, min(paired.broken, paired.fixed)
    assert mcnemar_p(paired) == pytest.approx(min(1.0, 2 * binom.cdf(least, m, 0.5)) if m else 1.0)


@pytest.mark.parametrize("n", [1, 10, 100, 10_000])
@pytest.mark.parametrize("alpha", [0.005, 0.025, 0.05])
def test_without_discordant_pairs_the_interval_is_known(n, alpha):
    z = norm.isf(alpha)
    end = z * z / (n + z * z)
    assert drop_interval(Paired(n=n, broken=0, fixed=0), alpha) == pytest.approx((-end, end), abs=1e-8)


@given(counts())
def test_the_score_of_no_drop_is_mcnemars(paired):
    assume(paired.broken + paired.fixed)
    expected = (paired.broken - paired.fixed) / math.sqrt(paired.broken + paired.fixed)
    assert tango_score(paired, 0.0) == pytest.approx(expected)


@given(counts(), st.sampled_from([0.005, 0.025, 0.05, 0.2]))
def test_it_contains_the_estimate_and_stays_within_bounds(paired, alpha):
    low, high = drop_interval(paired, alpha)
    assert -1 <= low <= paired.drop + 1e-9 and paired.drop - 1e-9 <= high <= 1
    assert low < high


@given(counts(), st.sampled_from([0.005, 0.025, 0.2]))
def test_swapping_broken_and_fixed_mirrors_it(paired, alpha):
    low, high = drop_interval(paired, alpha)
    mirrored = drop_interval(Paired(n=paired.n, broken=paired.fixed, fixed=paired.broken), alpha)
    assert mirrored == pytest.approx((-high, -low), abs=1e-7)


@given(counts(), st.floats(0.001, 0.4), st.floats(0.001, 0.4))
def test_a_smaller_alpha_never_makes_it_narrower(paired, one, other):
    wide, narrow = drop_interval(paired, min(one, other)), drop_interval(paired, max(one, other))
    assert wide[0] <= narrow[0] + 1e-8 and narrow[1] <= wide[1] + 1e-8


@given(counts(2000), st.sampled_from([0.01, 0.025, 0.1]))
def test_its_ends_solve_the_score_equation(paired, alpha):
    low, high = drop_interval(paired, alpha)
    assume(low > -0.999 and high < 0.999)
    z = norm.isf(alpha)
    assert tango_score(paired, low) == pytest.approx(z, abs=1e-4)
    assert tango_score(paired, high) == pytest.approx(-z, abs=1e-4)


@given(counts(500), st.floats(-0.95, 0.95))
def test_the_score_is_that_of_the_constrained_likelihood(paired, delta):
    assume(paired.broken and paired.fixed and paired.broken + paired.fixed < paired.n)
    assert tango_score(paired, delta) == pytest.approx(score(paired, delta), rel=1e-5, abs=1e-5)


@given(counts(), st.sampled_from([0.025, 0.1]))
def test_more_broken_images_mean_a_larger_drop(paired, alpha):
    assume(paired.broken + paired.fixed < paired.n)
    worse = Paired(n=paired.n, broken=paired.broken + 1, fixed=paired.fixed)
    assert all(now < then + 1e-9 for now, then in zip(drop_interval(paired, alpha), drop_interval(worse, alpha)))


@pytest.mark.parametrize(("n", "broken", "fixed"), [(1, 1, 0), (1, 0, 1), (10, 10, 0), (10, 0, 10), (10_000, 10_000, 0),
                                                    (10_000, 0, 10_000), (10, 5, 5), (2, 1, 1), (10_000, 9_999, 1)])
def test_extremes(n, broken, fixed):
    paired = Paired(n=n, broken=broken, fixed=fixed)
    low, high = drop_interval(paired, 0.025)
    assert -1 <= low < high <= 1
    assert (high == 1) == (broken == n) and (low == -1) == (fixed == n)


def test_near_walds_interval_where_that_holds():
    paired = Paired(n=10_000, broken=300, fixed=250)
    half = Z * math.sqrt(paired.broken + paired.fixed - (paired.broken - paired.fixed) ** 2 / paired.n) / paired.n
    low, high = drop_interval(paired, 0.025)
    assert (low, high) == pytest.approx((paired.drop - half, paired.drop + half), abs=5e-5)


@pytest.mark.parametrize(("n", "broken", "fixed"), [(500, 0.03, 0.02), (500, 0.01, 0.01), (1000, 0.02, 0.002)])
def test_it_covers_the_truth_as_often_as_it_says(n, broken, fixed):
    random = np.random.default_rng(0)
    drawn, times = np.unique(random.multinomial(n, [broken, fixed, 1 - broken - fixed], size=4000), axis=0,
                             return_counts=True)
    covered = 0
    for (b, c, _), weight in zip(drawn.tolist(), times):
        low, high = drop_interval(Paired(n=n, broken=b, fixed=c), 0.025)
        covered += int(weight) * (low <= broken - fixed <= high)
    assert 0.94 <= covered / 4000 <= 0.975


def test_the_interval_of_a_median_ratio_is_that_of_the_sign_test():
    own, other = [2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7, 2.8], [2.0] * 9
    found = median_ratio(own, other)
    assert found["ratio"] == pytest.approx(1.2)
    # P(2nd <= median <= 8th of nine) = 1 - 2 (1 + 9) / 512 = 96.1 %; the 3rd to the 7th would have 82 %.
    assert (found["low"], found["high"]) == (pytest.approx(1.05), pytest.approx(1.35))
    assert median_ratio(own[:5], other[:5])["low"] is None
    with pytest.raises(ValueError, match="shorter"):
        median_ratio(own, other[:5])
