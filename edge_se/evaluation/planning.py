"""How many images a margin needs: exact, by the gate's own rule, before any image is evaluated."""

from __future__ import annotations

from dataclasses import dataclass

from edge_se.core.errors import EdgeSeError
from edge_se.evaluation.exact import Critical, critical, normal_critical, pass_probability

LARGEST = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The images that a margin needs; `power_at_n` is the exact probability to pass with them and no true drop."""

    discordance: float
    n: int
    power_at_n: float


def images_needed(margin: float, alpha: float, power: float, discordance: float) -> Plan:
    """The smallest n from which on the gate passes a net without a drop with probability `power`.

    Counts are whole, so the probability goes up and down like a saw while n grows: n is past the last tooth below
    `power`. Raises EdgeSeError for settings out of range and where more than `LARGEST` images would be needed.
    """
    _require(margin, alpha, power, discordance)

    limit = normal_critical(alpha)
    while True:
        n = _from_which_on(limit, margin, alpha, power, discordance)
        passing = critical(n, margin, alpha, fails=False)
        reached = pass_probability(n, margin, alpha, discordance, limit=passing)
        if reached >= power:
            return Plan(discordance=discordance, n=n, power_at_n=reached)
        # Rarely: the scores of n are a little above those that it was sought with.
        limit = Critical(few=max(limit.few, passing.few), many=max(limit.many, passing.many))


def _from_which_on(limit: Critical, margin: float, alpha: float, power: float, discordance: float) -> int:
    """`images_needed`, with the critical scores of `limit` for every n."""
    def enough(n: int) -> bool:
        return pass_probability(n, margin, alpha, discordance, limit=limit) >= power
    short, n = 0, 1
    while not enough(n):
        if n == LARGEST:
            raise EdgeSeError(f"a margin of {100 * margin:g} points needs more than {LARGEST:,} images at "
                              f"{100 * discordance:g} % discordant pairs", where="--plan",
                              fix="give a wider margin or a smaller --discordance")
        short, n = n, min(2 * n, LARGEST)
    while n - short > 1:
        middle = (short + n) // 2
        short, n = (short, middle) if enough(middle) else (middle, n)
    tooth = int(1 / margin)  # a tooth is as long as the images that allow one more broken one
    while below := [later for later in range(n, n + 2 * tooth, max(1, tooth // 20)) if not enough(later)]:
        n = below[-1] + 1
    return n


def _require(margin: float, alpha: float, power: float, discordance: float) -> None:
    if not 0 < margin <= 1:
        raise EdgeSeError(f"a margin of {100 * margin:g} points cannot be planned", where="--max-drop",
                          fix="give more than 0 and at most 100 points: no number of images shows a drop of nothing")
    if not 0 < alpha < 0.5:
        raise EdgeSeError(f"alpha {alpha} is not between 0 and 0.5", where="--alpha", fix="0.025 is usual")
    if not 0 < power < 1:
        raise EdgeSeError(f"a power of {power} is not between 0 and 1", where="--power", fix="0.9 is usual")
    if not 0 <= discordance <= 1:
        raise EdgeSeError(f"{100 * discordance:g} % of discordant pairs is not between 0 and 100",
                          where="--discordance", fix="give percent of the images, 1 for instance")
