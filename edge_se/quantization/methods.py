"""From the histogram of a tensor to the range that 8 bits shall cover."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge_se.quantization.histograms import Histogram

LEVELS = 256
PERCENTILE = 99.99
CANDIDATES = 96
KL_STARTS = 96
KL_KEEPS = 0.99  # of the values that are not zero; what is usually clipped is well below a thousandth


def minmax(histogram: Histogram, symmetric: bool) -> tuple[float, float]:
    """The extremes: nothing is clipped."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram, symmetric: bool) -> tuple[float, float]:
    """All but the outermost (100 - PERCENTILE) % in all are inside."""
    share = np.cumsum(histogram.counts) / max(1, histogram.counts.sum())
    outside = (100 - PERCENTILE) / 100
    width = 2 * histogram.limit / len(histogram.counts)
    low = -histogram.limit + width * float(np.searchsorted(share, outside / 2, side="right"))
    high = -histogram.limit + width * float(np.searchsorted(share, 1 - outside / 2) + 1)
    return max(histogram.low, low), min(histogram.high, high)


def mse(histogram: Histogram, symmetric: bool) -> tuple[float, float]:
    """The shrunk extremes with the least squared error of rounding and clipping together.

    Rounding noise of a uniform quantizer is step² / 12; clipping costs the squared distance to the border.
    """
    low, high = histogram.low, histogram.high
    best, chosen = np.inf, (low, high)
    for keep in np.linspace(1.0, 0.3, CANDIDATES):
        bottom, top = low * keep, high * keep
        error = _squared_error(histogram, bottom, top, symmetric)
        if error < best:
            best, chosen = error, (float(bottom), float(top))
    return chosen


def entropy(histogram: Histogram, symmetric: bool) -> tuple[float, float]:
    """The shrunk extremes whose 256-level version diverges least (Kullback-Leibler) from the original.

    Migacz, 8-bit inference with TensorRT, 2017; applied to |x| for two-sided tensors. Also, a range must keep
    `KL_KEEPS`: one that ends in the bin of the smallest value has all of them there, before and after, and no
    divergence. Excitations, which are bounded away from zero, got such ranges, and whole nets were lost.
    """
    folded, width = _folded(histogram)
    last = int(np.flatnonzero(folded)[-1]) + 1 if folded.any() else 1
    levels = LEVELS // 2  # 128 as in the source: with as many levels as bins, every clip would look free
    enough = int(np.searchsorted(np.cumsum(folded), KL_KEEPS * folded.sum())) + 1
    best, chosen = np.inf, last
    for stop in np.unique(np.linspace(min(levels, last), last, KL_STARTS).astype(int)):
        divergence = _divergence(folded, stop, levels) if stop >= enough else np.inf
        if divergence < best:
            best, chosen = divergence, int(stop)
    border = chosen * width
    return max(histogram.low, -border), min(histogram.high, border)


METHODS: dict[str, Callable[[Histogram, bool], tuple[float, float]]] = {
    "minmax": minmax, "entropy": entropy, "percentile": percentile, "mse": mse}


def _squared_error(histogram: Histogram, bottom: float, top: float, symmetric: bool) -> float:
    bound = max(abs(bottom), abs(top))
    low, high = (-bound, bound) if symmetric else (min(bottom, 0.0), max(top, 0.0))
    step = (high - low) / (LEVELS - (2 if symmetric else 1))
    centres, counts = histogram.centres, histogram.counts
    outside = np.maximum(low - centres, 0) + np.maximum(centres - high, 0)
    inside = (outside == 0) & (np.abs(centres) > histogram.limit / len(counts))  # zero itself is exact
    return float((counts * outside**2).sum() + counts[inside].sum() * step * step / 12)


def _folded(histogram: Histogram) -> tuple[NDArray[np.float64], float]:
    """Counts of |x| and the width of a bin."""
    half = len(histogram.counts) // 2
    folded = (histogram.counts[half:] + histogram.counts[:half][::-1]).astype(np.float64)
    folded[0] = 0.0  # zeros after a ReLU are exact at any scale and would drown the rest
    return folded, histogram.limit / half


def _divergence(folded: NDArray[np.float64], stop: int, levels: int) -> float:
    """KL divergence of the first `stop` bins, clipped counts on the last one, from their `levels`-level version."""
    reference = folded[:stop].copy()
    reference[-1] += folded[stop:].sum()
    groups = np.minimum(np.arange(stop) * levels // stop, levels - 1)
    filled = folded[:stop] > 0
    totals = np.bincount(groups, folded[:stop], minlength=levels)
    members = np.bincount(groups, filled, minlength=levels)
    candidate = np.where(filled, (totals / np.maximum(members, 1))[groups], 0.0)
    p, q = reference / max(reference.sum(), 1.0), candidate / max(candidate.sum(), 1.0)
    used = p > 0
    return float((p[used] * np.log(p[used] / np.maximum(q[used], 1e-12))).sum())
