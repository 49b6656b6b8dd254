"""Statistics of paired predictions: each image is its own control, so the interval is far narrower than for two sets.

`broken`: right in FP32, wrong in INT8. `fixed`: the reverse. drop = (broken - fixed) / n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_se.data.images import Labels


@dataclass(frozen=True, kw_only=True)
class Paired:
    """The two discordant counts of n paired predictions."""

    n: int
    broken: int
    fixed: int

    @property
    def drop(self) -> float:
        """Accuracy lost, as a fraction of n; negative when accuracy was gained."""
        return (self.broken - self.fixed) / self.n


def pair(reference: NDArray[np.intp], candidate: NDArray[np.intp], labels: Labels) -> Paired:
    """Counts from predicted classes and labels, each (N,)."""
    was_right, is_right = reference == labels, candidate == labels
    return Paired(n=len(labels), broken=int((was_right & ~is_right).sum()), fixed=int((~was_right & is_right).sum()))


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927), as fractions."""
    from scipy.stats import binomtest

    interval = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def exact_interval(successes: int, n: int, confidence: float) -> tuple[float, float]:
    """Clopper and Pearson's interval of a proportion (Biometrika 26, 1934), as fractions: each end errs no more often.

    Wilson's is right on average and shorter, but near 0 and 1 one end of it may err four times as often.
    """
    from scipy.stats import binomtest

    interval = binomtest(successes, n).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def mcnemar_p(paired: Paired) -> float:
    """Two-sided p of McNemar's exact test: are broken and fixed equally likely?"""
    from scipy.stats import binomtest

    discordant = paired.broken + paired.fixed
    return float(binomtest(paired.broken, discordant, 0.5).pvalue) if discordant else 1.0


def drop_interval(paired: Paired, alpha: float) -> tuple[float, float]:
    """Tango's score interval of the drop at confidence 1 - 2 alpha, as fractions.

    Its ends are the one-sided bounds at alpha, so `high < margin` is exactly Tango's score test of non-inferiority
    (Tango, Statistics in Medicine 17, 1998). Unlike Wald's it holds with few or no discordant pairs.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    z = float(norm.isf(alpha))
    edge = 1 - 1e-12

    def bound(sign: int) -> float:
        # The score falls from +inf to -inf over (-1, 1): positive below the estimate, negative above.
        def beyond(delta: float) -> float:
            return tango_score(paired, delta) + sign * z
        outer = sign * edge
        if beyond(outer) * sign >= 0:
            return float(sign)
        return float(brentq(beyond, min(paired.drop, outer), max(paired.drop, outer), xtol=1e-9))

    return (bound(-1) if paired.drop > -edge else -1.0), (bound(1) if paired.drop < edge else 1.0)


def tango_score(paired: Paired, delta: float) -> float:
    """Tango's score statistic of H0: drop = delta."""
    n, b, c = paired.n, paired.broken, paired.fixed
    linear = -b - c + (2 * n - b + c) * delta
    constant = -c * delta * (1 - delta)
    fixed_rate = (math.sqrt(max(0.0, linear * linear - 8 * n * constant)) - linear) / (4 * n)
    variance = n * (2 * fixed_rate + delta * (1 - delta))
    difference = b - c - n * delta
    if variance <= 0:
        return 0.0 if difference == 0 else math.copysign(math.inf, difference)
    return difference / math.sqrt(variance)


def scores(n: NDArray[np.int64] | int, broken: NDArray[np.int64], fixed: NDArray[np.int64],
           delta: float) -> NDArray[np.float64]:
    """Tango's score statistic of H0: drop = delta for many pairs of counts at once, in their shape.

    The upper end of `drop_interval` at alpha lies below delta where the score is below -z(alpha), the lower end above
    delta where it is above z(alpha).
    """
    linear = -broken - fixed + (2 * n - broken + fixed) * delta
    root = np.sqrt(np.maximum(0.0, linear * linear + 8 * n * fixed * delta * (1 - delta)))
    variance = n * ((root - linear) / (2 * n) + delta * (1 - delta))
    difference = broken - fixed - n * delta
    with np.errstate(divide="ignore", invalid="ignore"):
        score = difference / np.sqrt(np.maximum(variance, 0.0))
    return np.where(difference == 0, 0.0, score)


def holm(values: Sequence[float]) -> list[float]:
    """The p values adjusted step by step (Holm, Scandinavian Journal of Statistics 6, 1979), in their order."""
    order = sorted(range(len(values)), key=lambda position: values[position])
    adjusted, largest = [1.0] * len(values), 0.0
    for rank, position in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[position]))
        adjusted[position] = largest
    return adjusted


def median_ratio(own: Sequence[float], other: Sequence[float], confidence: float = 0.95) -> dict[str, float | None]:
    """Median of the ratios own / other of repeats, with its exact interval from their order (the sign test's).

    No distribution is assumed. `low` and `high` are None where the repeats are too few for one: below six at 0.95.
    """
    from scipy.stats import quantile_test

    ratios = [mine / theirs for mine, theirs in zip(own, other, strict=True)]
    middle = float(np.median(ratios))
    interval = quantile_test(ratios, q=middle, p=0.5).confidence_interval(confidence)
    low, high = (None if np.isnan(edge) else float(edge) for edge in interval)
    return {"ratio": middle, "low": low, "high": high}
