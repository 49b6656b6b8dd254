"""Percentiles by definition; enough runs; the warm-up stays out."""

import math
import time
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_se.core.errors import EdgeSeError
from edge_se.device import agent
from edge_se.measure.power import Power, energy_per_inference
from edge_se.measure.timing import Latencies, TimingPlan, measure, order_of_turn


def of(*milliseconds, batch=1):
    return Latencies(milliseconds=np.array(milliseconds, np.float64), batch=batch)


class Clock:
    """A clock that advances only when told, in milliseconds."""

    def __init__(self, monkeypatch):
        self.now = 0
        monkeypatch.setattr(agent.timing.time, "perf_counter_ns", lambda: self.now)

    def advance(self, milliseconds):
        self.now += int(milliseconds * 1e6)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@given(st.lists(st.floats(0.001, 1e4), min_size=1, max_size=300), st.integers(0, 100))
def test_a_percentile_is_the_smallest_sample_that_enough_do_not_exceed(samples, share):
    found = of(*samples).percentile(share)
    assert found in samples
    enough = math.ceil(Fraction(share * len(samples), 100))
    assert sum(sample <= found for sample in samples) >= max(1, enough)
    assert sum(sample < found for sample in samples) < max(1, enough)


@pytest.mark.parametrize("n", [100, 125, 1000, 2000, 10_000])
@pytest.mark.parametrize("share", [7, 14, 28, 29, 50, 55, 56, 57, 90, 95, 99, 99.9, 100])
def test_the_rank_is_exact_where_the_share_of_the_samples_is_whole(n, share):
    rank = max(1, math.ceil(Fraction(str(share)) * n / 100))
    assert of(*range(1, n + 1)).percentile(share) == rank


def test_figures():
    latencies = of(3.0, 1.0, 2.0, 2.0, batch=4)
    assert latencies.mean == 2.0
    assert latencies.cv == pytest.approx(math.sqrt(0.5) / 2)
    assert latencies.throughput == pytest.approx(1000 * 4 * 4 / 8)
    assert of(5.0).percentile(99) == of(5.0).percentile(0) == 5.0


def test_it_runs_as_often_as_asked_when_calls_are_slow(clock):
    latencies = measure(lambda: clock.advance(50), TimingPlan(min_duration=0.1, min_runs=7, warmup=0), batch=2)
    assert latencies.milliseconds.tolist() == [50.0] * 7
    assert latencies.batch == 2


def test_it_runs_as_long_as_asked_when_calls_are_fast(clock):
    latencies = measure(lambda: clock.advance(1), TimingPlan(min_duration=0.5, min_runs=3, warmup=0), batch=1)
    assert latencies.milliseconds.sum() == 500


@pytest.mark.parametrize(("warmup", "excluded"), [(0.0, 1), (0.02, 4)])
def test_the_warm_up_is_not_in_the_samples(clock, warmup, excluded):
    calls = []

    def call():
        calls.append(1)
        clock.advance(5 if len(calls) <= excluded else 1)
    latencies = measure(call, TimingPlan(min_duration=0, min_runs=10, warmup=warmup), batch=1)
    assert latencies.milliseconds.tolist() == [1.0] * 10
    assert len(calls) == excluded + 10


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
def test_each_turn_has_every_file_once_and_none_always_follows_the_same(count):
    turns = [order_of_turn(turn, count) for turn in range(9)]
    assert all(sorted(turn) == list(range(count)) for turn in turns)
    assert len({turn[0] for turn in turns}) == min(count, 9)
    if count > 2:
        before = {(one, other) for turn in turns for one, other in pairwise(turn)}
        assert all(len({one for one, other in before if other == position}) > 1 for position in range(count))


def test_samples_keep_their_order(clock):
    durations = iter([9.0, 3.0, 1.0, 2.0])
    latencies = measure(lambda: clock.advance(next(durations)), TimingPlan(min_duration=0, min_runs=3, warmup=0),
                        batch=1)
    assert latencies.milliseconds.tolist() == [3.0, 1.0, 2.0]


def test_real_time():
    latencies = measure(lambda: time.sleep(0.002), TimingPlan(min_duration=0, min_runs=5, warmup=0), batch=1)
    assert len(latencies.milliseconds) == 5 and latencies.milliseconds.min() >= 2.0


def test_power_is_taken_over_the_timed_runs_alone(power_windows):
    slow = [0.2, 0.05]
    found = measure(lambda: time.sleep(slow.pop(0) if slow else 0.002),
                    TimingPlan(min_duration=0.1, min_runs=5, warmup=0.22), batch=4)
    (first, last), = power_windows
    assert last - first == pytest.approx(found.window_seconds) and 0.1 <= last - first < 0.19
    assert found.window_seconds >= found.milliseconds.sum() / 1000


@pytest.mark.parametrize(("milliseconds", "window", "batch", "seconds"), [
    ([1.0] * 90 + [11.0] * 10, 0.2, 1, 2e-3),           # the median is 1 ms
    ([1.0] * 90 + [11.0] * 10, 0.2, 4, 0.5e-3),
    ([1.0] * 4, 0.008, 1, 2e-3),                        # what lies between runs takes power, too
    ([2.0, 2.0], None, 2, 1e-3)])
def test_energy_counts_the_window_by_its_inferences(milliseconds, window, batch, seconds):
    found = Latencies(milliseconds=np.array(milliseconds), batch=batch, window_seconds=window)
    assert found.seconds_per_inference == pytest.approx(seconds)
    turns = Latencies.joined([found, found])
    assert turns.seconds_per_inference == pytest.approx(seconds)
    assert energy_per_inference(watts(10.0), watts(4.0), turns.seconds_per_inference).millijoules == pytest.approx(
        6000 * seconds)


def watts(value):
    return Power(watts=value, standard_error=0.01, samples=50, effective_samples=40, source="x", rail="y")


def test_turns_of_unlike_length_count_by_their_runs():
    short = Latencies(milliseconds=np.full(10, 1.0), batch=1, wall_ms=2.0, window_seconds=0.02)
    long = Latencies(milliseconds=np.full(30, 1.0), batch=1, wall_ms=6.0, window_seconds=0.18)
    joined = Latencies.joined([short, long])
    assert joined.wall_ms == pytest.approx(5.0) and joined.seconds_per_inference == pytest.approx(5e-3)


@pytest.mark.parametrize("arguments", [
    {"min_duration": -1.0}, {"min_duration": math.nan}, {"min_duration": math.inf}, {"min_runs": 0}, {"min_runs": -5},
    {"warmup": -1.0}, {"warmup": math.nan}, {"warmup": math.inf}])
def test_a_plan_that_makes_no_measurement_is_refused(arguments):
    with pytest.raises(EdgeSeError, match="make no measurement"):
        TimingPlan(**arguments)
