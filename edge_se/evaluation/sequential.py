"""Looks at a growing part of the images that keep the error rate over all of them (docs/adr/0008).

Group-sequential boundaries by alpha spending (Lan and DeMets, Biometrika 70, 1983), of O'Brien-Fleming type: almost
nothing is spent on early looks, so the last one judges nearly as a single look at all images does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

LOOKS = 10
SEED = 20260701  # of the order of the images
NODES = 400  # of the quadrature; 200 give the same boundaries to six digits
REACH = 9.0  # standard deviations that the quadrature spans


@dataclass(frozen=True, kw_only=True)
class Look:
    """After `n` images each verdict is judged at the one-sided level `alpha`, which spends `spends` of the error."""

    n: int
    alpha: float
    spends: float


def looks(images: int, alpha: float, count: int = LOOKS) -> tuple[Look, ...]:
    """`count` looks, as evenly spaced as possible, the last at all images. One look is the ordinary gate."""
    from scipy.stats import norm

    count = min(count, images)
    if count == 1:
        return (Look(n=images, alpha=alpha, spends=alpha),)
    sizes = [images * (position + 1) // count for position in range(count)]
    fractions = [size / images for size in sizes]
    total = [spent(alpha, fraction) for fraction in fractions]
    levels = norm.sf(boundaries(alpha, fractions))
    return tuple(Look(n=size, alpha=float(level), spends=float(now - before)) for size, level, now, before in zip(
        sizes, levels, total, [0.0, *total[:-1]]))


def last_level(alpha: float) -> float:
    """The one-sided level of the last of evenly spaced looks. A run passes at least as often as that look alone."""
    return looks(LOOKS, alpha)[-1].alpha


def parts(images: int, count: int = LOOKS) -> list[NDArray[np.int64]]:
    """The places of the images that each of `looks` adds, ascending as they lie on the disk: the same for everyone."""
    order = np.random.default_rng(SEED).permutation(images)
    sizes = [images * position // min(count, images) for position in range(min(count, images) + 1)]
    return [np.sort(order[start:end]) for start, end in pairwise(sizes)]


def spent(alpha: float, fraction: float) -> float:
    """The part of the one-sided error rate that may be spent when a fraction of the images was seen."""
    from scipy.stats import norm

    return float(2 * norm.sf(norm.isf(alpha / 2) / np.sqrt(fraction)))


def boundaries(alpha: float, fractions: Sequence[float]) -> NDArray[np.float64]:
    """One-sided critical values of the score at each look.

    The score grows like a Brownian motion in the fraction of the images; its density where no look has stopped yet
    is carried from look to look by Gauss-Legendre quadrature (Armitage, McPherson and Rowe, JRSS A 132, 1969).
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    points, weights = np.polynomial.legendre.leggauss(NODES)
    values = [float(norm.isf(spent(alpha, fractions[0])))]
    where = density = np.empty(0)
    for position, fraction in enumerate(fractions[1:], start=1):
        before = fractions[position - 1]
        top, bottom = values[-1] * np.sqrt(before), -REACH * np.sqrt(before)
        nodes = bottom + (points + 1) / 2 * (top - bottom)
        mass = weights * (top - bottom) / 2
        if position == 1:
            where, density = nodes, norm.pdf(nodes, scale=np.sqrt(before)) * mass
        else:
            step = np.sqrt(before - fractions[position - 2])
            where, density = nodes, (norm.pdf(nodes[:, None], where, step) @ density) * mass
        step = np.sqrt(fraction - before)
        allowed = spent(alpha, fraction) - spent(alpha, before)

        def surplus(z: float, edge: float = float(np.sqrt(fraction)), step: float = float(step),
                    allowed: float = allowed, where: NDArray[np.float64] = where,
                    density: NDArray[np.float64] = density) -> float:
            return float(norm.sf((z * edge - where) / step) @ density) - allowed
        values.append(float(brentq(surplus, 0.0, 2 * REACH, xtol=1e-10)))
    return np.asarray(values)
