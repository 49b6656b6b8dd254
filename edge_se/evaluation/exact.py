"""Exact probabilities of the gate's verdicts: summed over every count of discordant and of broken pairs.

The score's level is that of the normal distribution only for many pairs. Critical scores are therefore chosen such that
either verdict, at a true drop of exactly the margin, comes with probability alpha at most, whatever the rate of
discordant pairs. A smaller (for `pass`: larger) true drop makes it rarer still.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import EdgeSeError
from edge_se.evaluation.statistics import Paired, scores, tango_score

TAIL = 1e-18        # of the number of discordant pairs: left out on either side
CLOSE, FAR = 0.25, 8  # steps of the rates that are tried: in standard deviations of few pairs, per decade of many
SAFETY = 1e-3       # of alpha: what the probability may have risen by between two rates that were tried
STEP = 1e-4         # to which critical scores are exact, on the safe side
HOPELESS = 100.0    # times the normal value, or 1 where that is less: no count is that rare


@dataclass(frozen=True, kw_only=True)
class Critical:
    """What the score of H0: drop = margin must exceed, in its direction, for one verdict.

    `few`: where at most half of the pairs are discordant, `many`: where more are. Only there, where their number hardly
    varies, are the score's steps coarse among thousands of images, so that the first need not pay for the second.
    """

    few: float
    many: float

    def of(self, n: int, discordant: NDArray[np.int64] | int) -> NDArray[np.float64]:
        """The critical score for each count of discordant pairs of n; an array of the same shape."""
        return np.where(2 * np.asarray(discordant) > n, self.many, self.few)


def decided(paired: Paired, margin: float, alpha: float, *, fails: bool) -> bool:
    """Whether the score is beyond the critical one: `fails` above it, else below it on the side of `pass`."""
    score = tango_score(paired, margin) * (1 if fails else -1)
    return bool(score > critical(paired.n, margin, alpha, fails=fails).of(paired.n, paired.broken + paired.fixed))


def pass_probability(n: int, margin: float, alpha: float, discordance: float, drop: float = 0.0, *,
                     limit: Critical | None = None) -> float:
    """Probability that the gate passes on n images; margin, discordance and true drop are fractions.

    `limit`: critical scores to use instead of those of n, which take a while to compute.
    """
    limit = limit or critical(n, margin, alpha, fails=False)
    return _probability(n, margin, limit, discordance, drop, fails=False)


@lru_cache(maxsize=1024)
def critical(n: int, margin: float, alpha: float, *, fails: bool) -> Critical:
    """The least critical scores, not below the normal one, that hold alpha at every rate of discordant pairs.

    Infinite where n images are too few for the verdict. `fail` needs them most: where nearly all of few discordant
    pairs are broken the score is skewed, and with the normal value it comes in 3 % of the cases at alpha 2.5 %, and in
    4 % over ten looks.
    """
    normal = normal_critical(alpha)
    if margin >= 1:
        return normal

    def at(few: float, many: float, rate: float) -> float:
        return _probability(n, margin, Critical(few=few, many=many), rate, margin, fails=fails)
    most = alpha * (1 - SAFETY)
    # A rate that holds at the normal value holds at all larger ones.
    open_ = [rate for rate in _rates(n, margin) if at(normal.few, normal.many, rate) > most]
    many = _least(lambda value, rate: at(value, value, rate), normal.many, open_, most)
    few = _least(lambda value, rate: at(value, max(value, many), rate), normal.few, open_, most)
    return Critical(few=few, many=max(few, many))


def normal_critical(alpha: float) -> Critical:
    """Critical scores of the normal distribution: the least for any n, nearly reached with thousands of images."""
    from scipy.stats import norm

    value = float(norm.isf(alpha))
    return Critical(few=value, many=value)


def _rates(n: int, margin: float) -> list[float]:
    """Rates of discordant pairs from the margin to 1.

    The probability changes with the number of discordant pairs beyond those of the margin, and with that of the other
    pairs: by standard deviations where such a number is small, and slowly where it is large. It changes once more where
    half of all pairs are discordant.
    """
    few = np.arange(0, 20, CLOSE) ** 2
    most = max(n / 2, few[-1])
    counts = np.concatenate([few, np.geomspace(few[-1], most, 2 + int(FAR * np.log10(most / few[-1])))])
    steps = (counts[counts <= n / 2] / n) * (1 - margin)
    half = 0.5 + np.arange(-6, 6, 2 * CLOSE) / 2 / n**0.5
    rates = np.concatenate([margin + steps, 1 - steps, half])
    return [float(rate) for rate in np.unique(rates[(rates >= margin) & (rates <= 1)])]


def _least(probability: Callable[[float, float], float], value: float, rates: list[float], most: float) -> float:
    """The least critical score, to STEP and not below `value`, that keeps (score, rate) of all rates at most `most`.

    Infinite when no score does.
    """
    hopeless = HOPELESS * max(1.0, value)
    while rates:
        probabilities = [(probability(value, rate), rate) for rate in rates]
        worst, where = max(probabilities)
        if worst <= most:
            break
        rates = [rate for own, rate in probabilities if own > most]
        low, width = value, STEP
        while probability(value := low + width, where) > most:
            width *= 2
            if value > hopeless:
                return float("inf")
        while value - low > STEP:
            middle = (low + value) / 2
            low, value = (middle, value) if probability(middle, where) > most else (low, middle)
    return value


def _probability(n: int, margin: float, limit: Critical, discordance: float, drop: float, *, fails: bool) -> float:
    """Probability of a verdict: the score of H0: drop = margin is above the limit, or below it on the other side.

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
    most = _most_broken(n, totals, margin, limit.of(n, totals) * (1 if fails else -1), or_equal=fails)
    tail = binom.sf if fails else binom.cdf  # 1 - cdf would lose the tails that early looks are about
    return float((binom.pmf(totals, n, discordance) * tail(most, totals, share)).sum())


def _most_broken(n: int, totals: NDArray[np.int64], margin: float, limits: NDArray[np.float64], *,
                 or_equal: bool) -> NDArray[np.int64]:
    """For each number of discordant pairs the largest count of broken ones below its limit; -1 when there is none."""
    below, above = np.full_like(totals, -1), totals + 1  # the score grows with the broken ones: bisection
    while (above - below > 1).any():
        middle = (below + above) // 2
        score = scores(n, middle, totals - middle, margin)
        # Where both have met the middle is `below` itself, which may be -1 and says nothing.
        moves, under = above - below > 1, score <= limits if or_equal else score < limits
        below, above = np.where(moves & under, middle, below), np.where(moves & ~under, middle, above)
    return below
