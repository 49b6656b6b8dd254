"""Durations of a call: nanoseconds of each run, warm-up left out."""

from __future__ import annotations

import time

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def sample_durations(call: Callable[[], object], min_duration: float, min_runs: int, warmup: float) -> list[int]:
    """Nanoseconds of each run of `call` for at least `min_duration` seconds and `min_runs` runs, after `warmup` s."""
    _warm_up(call, warmup)
    return _durations(call, min_duration, min_runs)


def timed(call: Callable[[], object], min_duration: float, min_runs: int, warmup: float) -> dict[str, Any]:
    """The same as `ns`, and the `window` that they fill: [start, end] in seconds of the monotonic clock.

    Energy is taken over the window; compilation and warm-up are outside it.
    """
    _warm_up(call, warmup)
    start = time.monotonic()
    samples = _durations(call, min_duration, min_runs)
    return {"ns": samples, "window": [start, time.monotonic()]}


def _warm_up(call: Callable[[], object], seconds: float) -> None:
    """Runs `call` once and for at least so long."""
    warm = time.perf_counter_ns() + int(seconds * 1e9)
    call()
    while time.perf_counter_ns() < warm:
        call()


def _durations(call: Callable[[], object], min_duration: float, min_runs: int) -> list[int]:
    clock = time.perf_counter_ns
    samples: list[int] = []
    end = clock() + int(min_duration * 1e9)
    before = clock()
    while len(samples) < min_runs or before < end:
        before = clock()
        call()
        after = clock()
        samples.append(after - before)
        before = after
    return samples


def median(values: list[int]) -> float:
    """The mean of the middle two where their number is even."""
    return float(np.median(values))
