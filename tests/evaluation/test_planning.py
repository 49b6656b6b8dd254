"""Planned numbers of images hold what they promise, by the gate's own rule on simulated pairs."""

import numpy as np
import pytest
from scipy.stats import norm

from edge_se.core.errors import EdgeSeError
from edge_se.evaluation import planning
from edge_se.evaluation.exact import critical, pass_probability
from edge_se.evaluation.gate import judge
from edge_se.evaluation.planning import LARGEST, images_needed
from edge_se.evaluation.sequential import last_level
from edge_se.evaluation.simulation import rates
from edge_se.evaluation.statistics import Paired

SETTINGS = [(0.005, 0.025, 0.9, 0.003), (0.005, 0.025, 0.9, 0.03), (0.01, 0.05, 0.8, 0.02), (0.003, 0.005, 0.95, 0.002)]


@pytest.mark.parametrize(("margin", "alpha", "power", "discordance"), SETTINGS)
def test_simulated_gates_pass_as_often_as_planned(margin, alpha, power, discordance):
    plan = images_needed(margin, alpha, power, discordance)
    shares = [discordance / 2, discordance / 2, 1 - discordance]
    drawn, times = np.unique(np.random.default_rng(0).multinomial(plan.n, shares, size=4000), axis=0,
                             return_counts=True)
    passed = sum(int(weight) for (b, c, _), weight in zip(drawn.tolist(), times)
                 if judge(Paired(n=plan.n, broken=b, fixed=c), 100 * margin, alpha).verdict == "pass") / 4000
    assert passed == pytest.approx(plan.power_at_n, abs=4 * (power * (1 - power) / 4000) ** 0.5)
    assert plan.power_at_n >= power


@pytest.mark.parametrize(("margin", "alpha", "power", "discordance"), SETTINGS)
def test_it_is_the_smallest_number_from_which_the_power_holds(margin, alpha, power, discordance):
    n = images_needed(margin, alpha, power, discordance).n
    tooth, limit = int(1 / margin), critical(n, margin, alpha, fails=False)
    assert pass_probability(n, margin, alpha, discordance) >= power
    assert pass_probability(n - 1, margin, alpha, discordance, limit=limit) < power
    assert all(pass_probability(later, margin, alpha, discordance, limit=limit) >= power
               for later in range(n, n + 4 * tooth, max(1, tooth // 7)))


@pytest.mark.parametrize(("margin", "alpha", "power", "discordance"), [
    (0.2, 0.025, 0.9, 0.1), (0.3, 0.1, 0.8, 0.2), (0.3, 0.025, 0.95, 0.0)])
def test_a_sequential_gate_passes_as_often_as_its_last_look_promises(margin, alpha, power, discordance):
    fixed = images_needed(margin, alpha, power, discordance)
    plan = images_needed(margin, last_level(alpha), power, discordance)
    passed = rates(images=plan.n, margin=margin, alpha=alpha, drop=0, discordance=discordance, sets=4000, seed=0,
                   sequential=True).passes
    assert passed >= plan.power_at_n - 3 * (power * (1 - power) / 4000) ** 0.5
    assert fixed.n < plan.n < 1.5 * fixed.n


def test_near_the_normal_approximation_where_that_holds():
    margin, discordance = 0.01, 0.2
    usual = (norm.isf(0.025) + norm.isf(0.1)) ** 2 * discordance / margin**2
    assert images_needed(margin, 0.025, 0.9, discordance).n == pytest.approx(usual, rel=0.01)


def test_without_discordant_pairs_the_number_is_known():
    # Nothing is broken: the upper end is z^2 / (n + z^2), with z the normal value or a little above it.
    found, least = images_needed(0.005, 0.025, 0.9, 0.0).n, int(norm.isf(0.025) ** 2 * 0.995 / 0.005) + 1
    assert least <= found <= least + 3
    assert [pass_probability(n, 0.005, 0.025, 0.0) for n in (least - 1, found - 1, found)] == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("values", [(0.05, 0.025, 0.9, 0.03), (0.05, 0.025, 0.9, 0.0), (0.2, 0.1, 0.8, 0.1)])
def test_every_number_up_to_the_largest_is_tried(monkeypatch, values):
    needed = images_needed(*values)
    monkeypatch.setattr(planning, "LARGEST", needed.n)
    assert images_needed(*values) == needed
    monkeypatch.setattr(planning, "LARGEST", needed.n - 1)
    with pytest.raises(EdgeSeError, match=f"needs more than {needed.n - 1:,} images"):
        images_needed(*values)


def test_one_image_may_be_enough():
    assert images_needed(0.9, 0.2, 0.5, 0.0).n == 1


@pytest.mark.parametrize(("values", "says"), [
    ((0.0, 0.025, 0.9, 0.01), "--max-drop"), ((0.005, 0.5, 0.9, 0.01), "--alpha"),
    ((0.005, 0.025, 1.0, 0.01), "--power"), ((0.005, 0.025, 0.9, 1.5), "--discordance"),
    ((1e-5, 0.025, 0.9, 0.5), f"more than {LARGEST:,} images")])
def test_settings_that_cannot_be_planned(values, says):
    with pytest.raises(EdgeSeError, match=says):
        images_needed(*values)
