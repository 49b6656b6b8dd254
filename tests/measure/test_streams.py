"""Streams run at once; their throughput is that of all together."""

import threading
import time

import numpy as np
import pytest

from edge_se.measure.streams import measure_streams
from edge_se.measure.timing import Latencies, TimingPlan

PLAN = TimingPlan(min_duration=0.3, min_runs=4, warmup=0.0)


def test_waiting_streams_add_up():
    one = measure_streams([lambda: time.sleep(0.01)], PLAN, batch=2)
    four = measure_streams([lambda: time.sleep(0.01)] * 4, PLAN, batch=2)
    assert (one.streams, four.streams) == (1, 4)
    assert 40 < one.throughput <= 200 and four.throughput > 2 * one.throughput
    assert (four.milliseconds >= 10).all() and four.stream_seconds >= 0.3


def test_all_streams_are_warm_before_the_first_is_measured():
    seen, lock = [], threading.Lock()

    def call(name):
        with lock:
            seen.append(name)
        time.sleep(0.05 if seen.count(name) == 1 else 0.001)
    measure_streams([lambda: call("a"), lambda: call("b")], TimingPlan(min_duration=0, min_runs=6, warmup=0), batch=1)
    assert seen.count("a") == seen.count("b") == 5  # two to warm up, half of the six each
    assert sorted(seen[:4]) == ["a", "a", "b", "b"]


def test_what_a_stream_raises_reaches_the_caller():
    def broken():
        raise ValueError("no logits")
    with pytest.raises(ValueError, match="no logits"):
        measure_streams([lambda: time.sleep(0.001), broken], PLAN, batch=1)


def test_power_is_taken_while_all_streams_are_timed_and_not_while_they_warm_up(power_windows):
    def call(first=[0.2]):  # noqa: B006 - the default is the call's own memory
        time.sleep(first.pop() if first else 0.002)

    found = measure_streams([call, lambda: time.sleep(0.001)], TimingPlan(min_duration=0.1, min_runs=4, warmup=0.1),
                            batch=1)
    (first, last), = power_windows
    assert 0.1 <= last - first < 0.19 and last - first == pytest.approx(found.stream_seconds, abs=0.05)
    assert found.seconds_per_inference == pytest.approx(found.stream_seconds / len(found.milliseconds))


def test_turns_of_streams_are_joined():
    part = Latencies(milliseconds=np.full(10, 20.0), batch=4, streams=2, stream_seconds=0.1)
    joined = Latencies.joined([part, part])
    assert (joined.streams, joined.stream_seconds) == (2, 0.2)
    assert joined.throughput == pytest.approx(4 * 20 / 0.2)
    assert Latencies(milliseconds=np.full(10, 20.0), batch=4).throughput == pytest.approx(200)
