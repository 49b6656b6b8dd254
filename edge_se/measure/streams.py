"""Throughput of several streams at once: a thread of Python for each, which waits while its runtime computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError
from time import perf_counter_ns
from typing import Any

import numpy as np

from edge_se.device import agent
from edge_se.measure.timing import Latencies, TimingPlan

START_S = 300.0  # the slowest first run, one that compiles


def measure_streams(calls: Sequence[Callable[[], object]], plan: TimingPlan, *, batch: int) -> Latencies:
    """Runs every call in a loop of its own, all from the same moment on. `plan.min_runs` counts runs of all together.

    Each call must be safe beside the others and return only when its work is done. Latencies are each stream's own,
    queueing for the processor included; throughput counts the time from the first start to the last end.
    """
    warm, start = Barrier(len(calls) + 1), Barrier(len(calls) + 1)  # this thread waits, too
    runs = -(-plan.min_runs // len(calls))

    def stream(call: Callable[[], object]) -> list[int]:
        """Clock readings in nanoseconds: the start, then the end of every run."""
        try:
            agent.sample_durations(call, 0, 1, plan.warmup)
        except BaseException:
            warm.abort()
            raise
        warm.wait(START_S)
        start.wait(START_S)
        readings = [perf_counter_ns()]
        end = readings[0] + int(plan.min_duration * 1e9)
        while len(readings) <= runs or readings[-1] < end:
            call()
            readings.append(perf_counter_ns())
        return readings

    with ThreadPoolExecutor(len(calls)) as threads:
        futures = [threads.submit(stream, call) for call in calls]

        def work() -> dict[str, Any]:
            """Runs the timed part. Power is sampled during it; compilation and warm-up are not part of it."""
            start.wait(START_S)
            return {"readings": _results(futures)}

        try:
            warm.wait(START_S)
            timed = agent.sampled(work)
        except BrokenBarrierError:
            start.abort()
            _results(futures)  # the reason
            raise
        except BaseException:
            start.abort()
            raise
    readings = timed["readings"]
    latencies = Latencies.of(np.concatenate([np.diff(own) for own in readings]), timed, batch)
    seconds = (max(own[-1] for own in readings) - min(own[0] for own in readings)) / 1e9
    return Latencies(milliseconds=latencies.milliseconds, batch=batch, power=latencies.power, streams=len(calls),
                     stream_seconds=seconds, window_seconds=seconds)


def _results(futures: Sequence[Any]) -> list[list[int]]:
    """The result of each stream. Raises the error of the stream that failed, not of those that then gave up waiting."""
    failures = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(failures, key=lambda error: isinstance(error, BrokenBarrierError)):
        raise error
    return [future.result() for future in futures]
