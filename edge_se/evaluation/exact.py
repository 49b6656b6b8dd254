"""Exact probabilities of the gate's verdicts: summed over every count of discordant and of broken pairs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import EdgeSeError
from edge_se.evaluation.statistics import scores

TAIL = 1e-18  # of the number of discordant pairs: left out on either side
# Rates of discordant pairs, as multiples of the margin, at which a score may be skewed: above, the normal value holds.
SKEWED = (1.0, 1.1, 1.2, 1.35, 1.5, 2.0, 3.0, 6.0)


def pass_probability(n: int, margin: float, alpha: float, discordance: float, drop: float = 0.0) -> float:
    """Probability that the gate passes on n images; margin, discordance and true drop are fractions."""
    from scipy.stats import norm

    return _probability(n, margin, -float(norm.isf(alpha)), discordance, drop, above=False)


@lru_cache(maxsize=256)
def critical_score(n: int, margin: float, alpha: float) -> float:
    """What Tango's score of H0: drop <= margin must exceed for `fail`, at one-sided alpha.

    The score is skewed where nearly all of few discordant pairs are broken: with the normal critical value `fail` comes
    in up to 3 % of the cases at alpha 2.5 %, and in 4 % over ten looks. This is the least value, not below the normal
    one, that a score exceeds with probability alpha at most, at a true drop of the margin and whatever the rate.
    """
    from scipy.stats import norm

    normal = float(norm.isf(alpha))
    if not 0 < margin < 1:
        return normal
    rates = [min(1.0, multiple * margin) for multiple in SKEWED]

    def holds(critical: float) -> bool:
        return all(_probability(n, margin, critical, rate, margin, above=True) <= alpha for rate in rates)
    low, high = normal, normal
    while not holds(high):
        low, high = high, 1.5 * high
        if high > 100 * normal:  # no count comes so seldom: nothing on so few images is a `fail`
            return float("inf")
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _probability(n: int, margin: float, z: float, discordance: float, drop: float, *, above: bool) -> float:
    """Of a score of H0: drop = margin above z, or below it.

    The number of discordant pairs is binomial, and so is that of the broken ones among them.
    """
    from scipy.stats import binom

    if not abs(drop) <= discordance <= 1:
        raise EdgeSeError(f"a drop of {drop:g} needs at least as many discordant pairs, not {discordance:g}",
                          where="--discordance", fix="give a rate between the drop and 100 %")
    # Both ends by ppf, the upper one of the other pairs: isf rounds so small a tail to 0 and gives n.
    first, last = int(binom.ppf(TAIL, n, discordance)), n - int(binom.ppf(TAIL, n, 1 - discordance))
    totals = np.arange(max(0, first), min(last, n) + 1)
    share = 0.5 * (1 + drop / discordance) if discordance else 0.5
    limits = _most_broken(n, totals, margin, z, or_equal=above)
    tail = binom.sf if above else binom.cdf  # 1 - cdf would lose the tails that early looks are about
    return float((binom.pmf(totals, n, discordance) * tail(limits, totals, share)).sum())


def _most_broken(n: int, totals: NDArray[np.int64], margin: float, z: float, *,
                 or_equal: bool) -> NDArray[np.int64]:
    """Per number of discordant pairs the largest count of broken ones with such a score, -1 where none has it."""
    below, above = np.full_like(totals, -1), totals + 1  # the score grows with the broken ones: bisection
    while (above - below > 1).any():
        middle = (below + above) // 2
        score = scores(n, middle, totals - middle, margin)
        # Where both have met the middle is `below` itself, which may be -1 and says nothing.
        moves, under = above - below > 1, score <= z if or_equal else score < z
        below, above = np.where(moves & under, middle, below), np.where(moves & ~under, middle, above)
    return below
