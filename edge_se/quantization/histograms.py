"""Histograms of activations, filled batch by batch in one pass: memory does not grow with the number of images.

The bins of a tensor cover [-limit, limit]. When a value lies outside, the limit doubles and bins merge in pairs, so no
second pass and no guess of the range is needed. Limits are powers of two and borders belong to the bin above them, so
the result does not depend on the order of the values, nor on how many threads count them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

BINS = 4096  # an even number of bins on each side of zero; 4,096 x 8 bytes a tensor
COUNTED = 2**25  # values a tensor that are all counted: 512 images of 65,536; of more, about so many are, evenly spread
SMALLEST_LIMIT = 2.0**-100  # the factor that brings values to bins stays finite in float32
_BLOCK = 2**16  # values that are brought to bins at once: they stay in the caches


@dataclass(kw_only=True)
class Histogram:
    """Counts over `BINS` equal bins of [-limit, limit], and the exact extremes.

    `at_limit` of the last bin's values are exactly `limit`: they belong above it when the limit doubles.
    """

    limit: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    at_limit: int = 0

    @classmethod
    def of(cls, values: NDArray[np.float32], *, at_least: float = 0.0,
           taken: NDArray[np.float32] | None = None) -> Histogram:
        """Of `values` the extremes, of `taken` among them (None: of all) the counts; limit `at_least` or more."""
        low, high = float(values.min()), float(values.max())
        limit = max(at_least, _limit_of(max(abs(low), abs(high))))
        counted = values if taken is None else taken
        histogram = cls(limit=limit, low=low, high=high)
        if limit == 0.0:
            histogram.counts[BINS // 2] = counted.size
        elif math.isfinite(limit):
            counts = _binned(counted.ravel(), limit, signed=low < 0)
            histogram.at_limit = int(counts[BINS])
            histogram.counts = counts[:BINS]
            histogram.counts[-1] += histogram.at_limit
        return histogram

    def add(self, values: NDArray[np.float32]) -> None:
        """Counts all `values`, of any shape."""
        self.merge(Histogram.of(values, at_least=self.limit))

    def merge(self, other: Histogram) -> None:
        """Adds what `other` counted."""
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self._grow(other.limit)
        if other.limit < self.limit:
            other = Histogram(limit=other.limit, counts=other.counts.copy(), at_limit=other.at_limit)
            other._grow(self.limit)
        self.counts += other.counts
        self.at_limit += other.at_limit

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        width = 2 * self.limit / BINS
        return np.asarray(-self.limit + width * (np.arange(BINS) + 0.5), dtype=np.float64)

    def _grow(self, limit: float) -> None:
        if self.limit == 0.0:  # zeros lie in the bin above zero at every limit
            self.limit = limit
        while self.limit < limit < math.inf:
            self.counts[-1] -= self.at_limit
            merged = self.counts.reshape(-1, 2).sum(1)
            self.counts[:] = 0
            self.counts[BINS // 4 : BINS // 4 + BINS // 2] = merged
            self.counts[BINS // 4 + BINS // 2] += self.at_limit
            self.at_limit = 0
            self.limit *= 2


def of_images(values: NDArray[np.float32], *, first: int, batch: int, total: int, at_least: float = 0.0) -> Histogram:
    """The histogram of a tensor of `batch` images, the first of which is number `first` of `total`.

    Extremes are those of all values. All are counted as long as `total` images have at most `COUNTED`. Beyond, of each
    image every k-th value is, beginning one later in each, so that k images show every place once. Neither the size of
    batches nor their order matters.
    """
    rows = values.reshape(batch if values.size % batch == 0 else 1, -1)
    step = _step(rows.shape[1], total)
    if step == 1:
        return Histogram.of(rows, at_least=at_least)
    taken = np.concatenate([row[(first + number) % step :: step] for number, row in enumerate(rows)])
    return Histogram.of(rows, at_least=at_least, taken=taken)


def _step(size: int, total: int) -> int:
    """One of how many of the `size` values of an image is counted; no divisor of a row, so that no column is missed."""
    step = max(1, -(-size * total // COUNTED))
    while math.gcd(step, size) > 1:
        step += 1
    return step


def _limit_of(largest: float) -> float:
    """The least power of two that is not below `largest`."""
    if largest == 0.0 or not math.isfinite(largest):
        return abs(largest)
    mantissa, exponent = math.frexp(largest)
    return max(SMALLEST_LIMIT, math.ldexp(1.0, exponent - (mantissa == 0.5)))


def _binned(values: NDArray[np.float32], limit: float, *, signed: bool) -> NDArray[np.int64]:
    """(BINS + 1,) counts of `values` within [-limit, limit]; the last one is of those that are `limit`.

    Where none is below zero (not `signed`), as behind a ReLU, converting to integers rounds down by itself.
    """
    counts = np.zeros(BINS + 1, np.int64)
    filled = counts if signed else counts[BINS // 2 :]
    size = min(_BLOCK, values.size)
    floats, places = np.empty(size, np.float32), np.empty(size, np.intp)
    scale, middle = np.float32(BINS / 2 / limit), np.float32(BINS / 2)
    for start in range(0, values.size, _BLOCK):
        block = values[start : start + _BLOCK]
        own = floats[: block.size]
        np.multiply(block, scale, out=own)  # exact: a power of two
        if signed:
            np.floor(own, out=own)
            np.add(own, middle, out=own)
        np.copyto(places[: block.size], own, casting="unsafe")
        filled += np.bincount(places[: block.size], minlength=len(filled))
    return counts
