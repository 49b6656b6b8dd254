"""Durations of a call: nanoseconds of each run, warm-up left out."""

from __future__ import annotations

import time

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def sample_durations(call: Callable[[], object], min_duration: float, min_runs: int, warmup: float) -> list[int]:
    """Nanoseconds of each run of `call` for at least `min_duration` seconds and `min_runs` runs, after `warmup` s."""
    clock = time.perf_counter_ns
    warm = clock() + int(warmup * 1e9)
    call()
    while clock() < warm:
        call()
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
