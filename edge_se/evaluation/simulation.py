"""How often the gate errs: its own rule on simulated pairs of predictions, many sets of them at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_se.evaluation.exact import critical
from edge_se.evaluation.sequential import LOOKS, looks
from edge_se.evaluation.statistics import scores


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Shares of the simulated sets with each verdict, and the mean of the images that were evaluated."""

    passes: float
    fails: float
    inconclusive: float
    mean_images: float


def rates(*, images: int, margin: float, alpha: float, drop: float, discordance: float, sets: int, seed: int,
          sequential: bool = False) -> Rates:
    """Verdicts on `sets` draws of `images` pairs; margin, true drop and true rate of discordant pairs are fractions."""
    schedule = looks(images, alpha, LOOKS if sequential else 1)
    sizes = np.array([look.n for look in schedule])
    broken = (discordance + drop) / 2
    shares = [broken, broken - drop, 1 - discordance]
    random = np.random.default_rng(seed)
    counts = np.zeros((sets, 2), np.int64)
    verdict, used = np.zeros(sets, np.int64), np.full(sets, images)
    for look, fresh in zip(schedule, np.diff(sizes, prepend=0)):
        counts += random.multinomial(fresh, shares, size=sets)[:, :2]
        score = scores(look.n, counts[:, 0], counts[:, 1], margin)
        passing, failing = (critical(look.n, margin, look.alpha, fails=fails).of(look.n, counts.sum(1))
                            for fails in (False, True))
        now = np.where(-score > passing, 1, np.where(score > failing, -1, 0))
        stops = (verdict == 0) & (now != 0)
        verdict[stops], used[stops] = now[stops], look.n
    passed, failed = float((verdict == 1).mean()), float((verdict == -1).mean())
    return Rates(passes=passed, fails=failed, inconclusive=1 - passed - failed, mean_images=float(used.mean()))
