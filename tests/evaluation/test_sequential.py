"""Boundaries against the multivariate normal and simulated Brownian motion; the gate's error rate over all looks."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from edge_se.evaluation.sequential import LOOKS, boundaries, last_level, looks, spent
from edge_se.evaluation.simulation import rates

ALPHA = 0.025
COMMON = {"images": 10_000, "margin": 0.005, "alpha": ALPHA, "sets": 10_000, "seed": 3}


@pytest.mark.parametrize("alpha", [0.005, 0.025, 0.1])
@pytest.mark.parametrize("fractions", [(0.2, 0.4, 0.6, 0.8, 1.0), (0.5, 0.7, 1.0), (0.3, 1.0)])
def test_each_look_spends_what_it_may(alpha, fractions):
    # Scores at fractions s < t correlate by sqrt(s / t): their joint distribution, by another computation.
    covariance = np.sqrt(np.minimum.outer(fractions, fractions) / np.maximum.outer(fractions, fractions))
    values = boundaries(alpha, fractions)
    for count in range(2, len(fractions) + 1):
        stays = multivariate_normal(cov=covariance[:count, :count], seed=0, maxpts=2_000_000, abseps=1e-7).cdf(
            values[:count])
        assert 1 - stays == pytest.approx(spent(alpha, fractions[count - 1]), abs=2e-5)


@pytest.mark.parametrize("images", [50, 997, 1_983, 10_000])
@pytest.mark.parametrize("alpha", [1e-6, 0.025, 0.4])
def test_the_level_of_the_last_look_hardly_depends_on_the_images(images, alpha):
    assert last_level(alpha) == pytest.approx(looks(images, alpha)[-1].alpha, rel=2e-3)
    assert last_level(alpha) < alpha


def test_one_look_is_the_ordinary_gate():
    (only,) = looks(10_000, ALPHA, 1)
    assert only.n == 10_000
    assert (only.alpha, only.spends) == (ALPHA, ALPHA)


@pytest.mark.parametrize(("images", "count"), [(10_000, 10), (7, 3), (3, 10), (1, 10), (9_999, 4)])
@pytest.mark.parametrize("alpha", [1e-6, 0.005, 0.025, 0.2])
def test_looks_grow_to_all_images_and_spend_all_of_alpha(images, count, alpha):
    plan = looks(images, alpha, count)
    sizes = [look.n for look in plan]
    assert sizes == sorted(set(sizes)) and sizes[-1] == images and len(plan) == min(count, images)
    assert sum(look.spends for look in plan) == pytest.approx(alpha, rel=1e-6)
    levels = [look.alpha for look in plan]
    assert levels == sorted(levels) and levels[0] > 0 and levels[-1] <= alpha + 1e-12
    assert plan[0].alpha == pytest.approx(plan[0].spends)


def test_spending_is_monotone_and_ends_at_alpha():
    values = [spent(ALPHA, fraction) for fraction in np.linspace(0.05, 1, 30)]
    assert values == sorted(values) and values[-1] == pytest.approx(ALPHA)


def test_brownian_motion_crosses_them_as_often_as_alpha_says():
    fractions = np.arange(1, 11) / 10
    walk = np.random.default_rng(1).normal(0, np.sqrt(0.1), (200_000, 10)).cumsum(1)
    crossed = (walk / np.sqrt(fractions) > boundaries(ALPHA, fractions.tolist())).any(1).mean()
    assert crossed == pytest.approx(ALPHA, abs=4 * np.sqrt(ALPHA / 200_000))
    again_and_again = (walk / np.sqrt(fractions) > norm.isf(ALPHA)).any(1).mean()
    assert again_and_again > 2 * ALPHA  # what looking ten times without a correction does


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("discordance", [0.01, 0.03])
def test_at_the_margin_either_verdict_comes_no_more_often_than_stated(sequential, discordance):
    found = rates(**COMMON, drop=0.005, discordance=discordance, sequential=sequential)
    noise = 3 * np.sqrt(ALPHA / 10_000)
    assert 0.015 < found.passes <= ALPHA + noise and 0.01 < found.fails <= ALPHA + noise


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize(("images", "discordance"), [(1000, 0.005), (2000, 0.0055), (5000, 0.005), (2000, 0.01)])
def test_a_skewed_score_raises_no_false_alarms(images, discordance, sequential):
    found = rates(**COMMON | {"images": images}, drop=0.005, discordance=discordance, sequential=sequential)
    assert found.fails <= ALPHA + 2 * np.sqrt(ALPHA / 10_000)


@pytest.mark.parametrize(("drop", "kind"), [(0.0, "passes"), (0.015, "fails")])
def test_a_clear_case_stops_early_and_loses_little_power(drop, kind):
    whole, early = (rates(**COMMON, drop=drop, discordance=0.02, sequential=sequential)
                    for sequential in (False, True))
    assert whole.mean_images == 10_000 and early.mean_images < 7_000
    assert getattr(whole, kind) - 0.03 < getattr(early, kind) <= getattr(whole, kind) + 0.01
    assert whole.passes + whole.fails + whole.inconclusive == pytest.approx(1)


def test_a_wrecked_net_stops_at_the_first_look():
    found = rates(**COMMON, drop=0.5, discordance=0.5, sequential=True)
    assert (found.fails, found.mean_images) == (1.0, 10_000 / LOOKS)
