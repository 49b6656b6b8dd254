"""Histograms of activations, filled batch by batch in one pass: memory does not grow with the number of images.

The bins of a tensor cover [-limit, limit]. When a value lies outside, the limit doubles and bins merge in pairs, so no
second pass and no guess of the range is needed, and the result does not depend on when the large values came.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

BINS = 4096  # an even number of bins on each side of zero; 4,096 x 8 bytes a tensor


@dataclass(kw_only=True)
class Histogram:
    """Counts over `BINS` equal bins of [-limit, limit], and the exact extremes."""

    limit: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: NDArray[np.float32]) -> None:
        """Counts all `values`, of any shape."""
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._grow(max(abs(low), abs(high)))
        if self.limit == 0.0:
            self.counts[BINS // 2] += values.size
            return
        positions = values.ravel() * np.float32(BINS / 2 / self.limit)
        positions += np.float32(BINS / 2)
        bins = positions.astype(np.int32)
        np.clip(bins, 0, BINS - 1, out=bins)
        self.counts += np.bincount(bins, minlength=BINS)

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        width = 2 * self.limit / BINS
        return np.asarray(-self.limit + width * (np.arange(BINS) + 0.5), dtype=np.float64)

    def _grow(self, largest: float) -> None:
        if not math.isfinite(largest) or largest <= self.limit:
            return
        if self.limit == 0.0:
            zeros = int(self.counts[BINS // 2])
            # Powers of two: whoever starts with whatever batch ends with the same bins.
            self.limit = 2.0 ** math.ceil(math.log2(largest))
            self.counts[:] = 0
            self.counts[BINS // 2] = zeros
            return
        while self.limit < largest:
            merged = self.counts.reshape(-1, 2).sum(1)
            self.counts[:] = 0
            self.counts[BINS // 4 : BINS // 4 + BINS // 2] = merged
            self.limit *= 2
