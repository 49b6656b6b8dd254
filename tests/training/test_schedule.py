"""Learning rate factors at the points that define the schedule."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_se.core.recipes import Schedule
from edge_se.training.schedule import learning_rate_factor


@pytest.mark.parametrize(("decay", "step", "factor"), [
    ("linear", 0, 0.2), ("linear", 10, 0.6), ("linear", 20, 1.0), ("linear", 60, 0.5), ("linear", 99, 0.0125),
    ("cosine", 0, 0.2), ("cosine", 20, 1.0), ("cosine", 40, (2 + 2**0.5) / 4), ("cosine", 60, 0.5),
    ("constant", 10, 0.6), ("constant", 20, 1.0), ("constant", 99, 1.0),
])
def test_values(decay, step, factor):
    schedule = Schedule(decay=decay, warmup_fraction=0.2, warmup_start=0.2)
    assert learning_rate_factor(schedule, step, 100) == pytest.approx(factor)


def test_it_decays_to_the_final_share_and_may_start_at_the_peak():
    schedule = Schedule(warmup_fraction=0, final=0.1)
    assert learning_rate_factor(schedule, 0, 1000) == 1
    assert learning_rate_factor(schedule, 500, 1000) == pytest.approx(0.55)
    assert learning_rate_factor(schedule, 999, 1000) == pytest.approx(0.1009)


@pytest.mark.parametrize(("step", "factor"), [
    (0, 0.0), (5, 0.5), (10, 1.0), (29, 1.0), (30, 0.2), (59, 0.2), (60, 0.04), (80, 0.008), (99, 0.008)])
def test_steps_are_taken_at_the_milestones(step, factor):
    schedule = Schedule(decay="step", warmup_fraction=0.1, warmup_start=0, milestones=(0.3, 0.6, 0.8), gamma=0.2)
    assert learning_rate_factor(schedule, step, 100) == pytest.approx(factor)


@given(st.sampled_from(["linear", "cosine", "constant"]), st.floats(0, 0.99), st.floats(0, 1), st.floats(0, 1),
       st.integers(1, 300))
def test_it_rises_then_never_rises_again_and_stays_within_bounds(decay, warmup, start, final, total):
    schedule = Schedule(decay=decay, warmup_fraction=warmup, warmup_start=start, final=final)
    factors = [learning_rate_factor(schedule, step, total) for step in range(total)]
    assert all(min(start, final) - 1e-9 <= factor <= 1 + 1e-9 for factor in factors)
    rise = [factor for step, factor in enumerate(factors) if step < warmup * total]
    assert rise == sorted(rise)
    fall = factors[len(rise):]
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(fall))
