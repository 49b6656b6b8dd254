"""Latency of a call: warmed up, long enough, raw samples kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import EdgeSeError

CV_WARNING = 0.025  # trtexec warns above the same coefficient of variation


@dataclass(frozen=True, kw_only=True)
class TimingPlan:
    """Runs for at least `min_duration` seconds and `min_runs` runs after `warmup` seconds."""

    min_duration: float = 2.0
    min_runs: int = 100
    warmup: float = 0.2

    def __post_init__(self) -> None:
        seconds = (self.min_duration, self.warmup)
        if not all(value >= 0 and math.isfinite(value) for value in seconds) or self.min_runs < 1:
            raise EdgeSeError(f"{self.min_duration} s, {self.min_runs} runs and {self.warmup} s of warm-up make no "
                              "measurement",
                              where="--min-duration", fix="give a duration in seconds, 0 or more")


@dataclass(frozen=True, kw_only=True)
class Latencies:
    """Samples in milliseconds, in the order they were taken."""

    milliseconds: NDArray[np.float64]
    batch: int

    def percentile(self, share: float) -> float:
        """Nearest-rank percentile in milliseconds; interpolation would invent values that never happened."""
        ordered = np.sort(self.milliseconds)
        return float(ordered[max(0, math.ceil(share * len(ordered) / 100) - 1)])

    @property
    def mean(self) -> float:
        """Arithmetic mean in milliseconds."""
        return float(self.milliseconds.mean())

    @property
    def cv(self) -> float:
        """Coefficient of variation: standard deviation over mean."""
        return float(self.milliseconds.std() / self.milliseconds.mean())

    @property
    def throughput(self) -> float:
        """Images per second over all samples, one batch at a time."""
        return 1000.0 * self.batch * len(self.milliseconds) / float(self.milliseconds.sum())


def measure(call: Callable[[], object], plan: TimingPlan, *, batch: int) -> Latencies:
    """Times `call`, which must return only when its work is done."""
    clock = time.perf_counter_ns
    warm = clock() + int(plan.warmup * 1e9)
    call()
    while clock() < warm:
        call()
    samples: list[int] = []
    end = clock() + int(plan.min_duration * 1e9)
    before = clock()
    while len(samples) < plan.min_runs or before < end:
        before = clock()
        call()
        after = clock()
        samples.append(after - before)
        before = after
    return Latencies(milliseconds=np.asarray(samples, dtype=np.float64) / 1e6, batch=batch)
