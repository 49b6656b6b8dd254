"""Pixels on rounding ties: an input scale that puts 8-bit pixels half-way between two integers.

With mean 0.5 and std 0.5 the range is -1 to 1 and the scale 2/255: all 256 pixel values are ties. Runtimes round them
differently, and half of the grey levels are lost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TIE = 0.001             # of a step; nearer to the half is a tie in one runtime or another
MOST_TIES = 1 / 16      # of a channel's 256 pixel values
STEPS = range(1, 12)    # how many steps of 255 the range is widened by at most


def share_of_ties(scale: float, mean: float, std: float) -> float:
    """The share of the 256 pixel values, normalised by `mean` and `std`, that lie half-way between two integers."""
    levels = (np.arange(256) / 255 - mean) / std / scale
    return float((np.abs(np.abs(levels - np.floor(levels)) - 0.5) < TIE).mean())


def without_ties(bounds: tuple[float, float], symmetric: bool, mean: Sequence[float], std: Sequence[float]
                 ) -> tuple[float, float]:
    """`bounds` of the input, widened by the least that takes its pixels off ties; as they are where few are ties."""
    low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
    scale = max(-low, high) / 127 if symmetric else (high - low) / 255
    if scale <= 0:
        return bounds
    for step in (0, *STEPS):
        wider = 255 / (255 - step)
        if all(share_of_ties(scale * wider, *channel) <= MOST_TIES for channel in zip(mean, std)):
            return bounds if step == 0 else (bounds[0] * wider, bounds[1] * wider)
    return bounds
