"""Latency of a call: warmed up, long enough, raw samples kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import EdgeSeError
from edge_se.device import agent

CV_WARNING = 0.025  # trtexec warns above the same coefficient of variation


def noise_in_words(variations: Sequence[float]) -> str | None:
    """What a reader of these rows must know of their coefficients of variation; None where all are small."""
    noisy = [variation for variation in variations if variation > CV_WARNING]
    if not noisy:
        return None
    return (f"{len(noisy)} of {len(variations)} rows have a coefficient of variation of up to {100 * max(noisy):.1f} "
            f"%, above {100 * CV_WARNING:g} %: something else used the machine; compare ratios, not times")


def order_of_turn(turn: int, count: int) -> list[int]:
    """Positions of `count` files in a turn: each turn begins with another one, every other turn goes backwards.

    A file always timed behind the same one would be measured with what that leaves in caches, clocks and heat.
    """
    step = -1 if turn % 2 else 1
    return [(turn + step * position) % count for position in range(count)]


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

    @property
    def fields(self) -> dict[str, Any]:
        """The plan in the form that the agent takes."""
        return {"min_duration": self.min_duration, "min_runs": self.min_runs, "warmup": self.warmup}


@dataclass(frozen=True, kw_only=True)
class Latencies:
    """Samples in milliseconds, in the order they were taken.

    On a GPU they are the GPU's own time; `wall_ms` is what a caller waits in the mean, with both copies, whose medians
    stand beside it. `power` holds raw samples of the device's sensors in the `window_seconds` that all runs took from
    the start of the first to the end of the last, warm-up left out; see `edge_se.measure.power`. Samples of several
    streams, which ran at once for `stream_seconds`, stand one stream after the other. `rounds` are the medians of the
    single turns, of which another file's in the same turns are the partners.
    """

    milliseconds: NDArray[np.float64]
    batch: int
    wall_ms: float | None = None
    to_device_ms: float | None = None
    to_host_ms: float | None = None
    cuda_graph: bool | None = None
    power: tuple[dict[str, Any], ...] = ()
    streams: int = 1
    stream_seconds: float | None = None
    window_seconds: float | None = None
    rounds: tuple[float, ...] = ()

    @classmethod
    def of(cls, nanoseconds: Any, timed: Mapping[str, Any], batch: int) -> Latencies:
        """Reads the answer of an agent to `time`, here or on a device."""
        milliseconds = np.asarray(nanoseconds, dtype=np.float64) / 1e6
        aside = {name: timed[f"{name[:-3]}_ns"] / 1e6 for name in ("wall_ms", "to_device_ms", "to_host_ms")
                 if timed.get(f"{name[:-3]}_ns")}
        return cls(milliseconds=milliseconds, batch=batch, cuda_graph=timed.get("cuda_graph"),
                   power=tuple(timed.get("power", ())),
                   window_seconds=timed.get("window_s"), **aside)

    @classmethod
    def joined(cls, parts: list[Latencies]) -> Latencies:
        """Joins the samples of several turns. `wall_ms` is the mean of all runs; copies get the median of the turns."""
        beside = {name: float(np.median(values)) for name in ("to_device_ms", "to_host_ms")
                  if (values := [value for part in parts if (value := getattr(part, name)) is not None])}
        waited = [(part.wall_ms, len(part.milliseconds)) for part in parts if part.wall_ms is not None]
        if waited:
            beside["wall_ms"] = sum(mean * runs for mean, runs in waited) / sum(runs for _, runs in waited)
        seconds = [part.stream_seconds for part in parts if part.stream_seconds is not None]
        windows = [part.window_seconds for part in parts if part.window_seconds is not None]
        return cls(milliseconds=np.concatenate([part.milliseconds for part in parts]), batch=parts[0].batch,
                   cuda_graph=parts[0].cuda_graph, power=tuple(one for part in parts for one in part.power),
                   streams=parts[0].streams, stream_seconds=sum(seconds) if seconds else None,
                   window_seconds=sum(windows) if len(windows) == len(parts) else None,
                   rounds=tuple(part.percentile(50) for part in parts), **beside)

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
        """Images per second over all samples: of one batch at a time, or of all streams together."""
        seconds = self.stream_seconds or float(self.milliseconds.sum()) / 1000
        return self.batch * len(self.milliseconds) / seconds

    @property
    def seconds_per_inference(self) -> float:
        """Seconds for one image in the timed windows, waits included; power is multiplied by it."""
        if self.window_seconds is None:
            return 1 / self.throughput
        return self.window_seconds / (self.batch * len(self.milliseconds))


def measure(call: Callable[[], object], plan: TimingPlan, *, batch: int) -> Latencies:
    """Times `call`, which must return only when its work is done; power is sampled where this machine tells it."""
    timed = agent.sampled(lambda: agent.timed(call, **plan.fields))
    return Latencies.of(timed["ns"], timed, batch)
