"""Which classes lose accuracy: an exact McNemar test of each, their multiplicity handled by Holm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_se.data.images import Labels
from edge_se.evaluation.statistics import Paired, holm, mcnemar_p, pair


@dataclass(frozen=True, kw_only=True)
class ClassDrop:
    """One class; `p_holm` is adjusted for all classes of the same file."""

    name: str
    paired: Paired | None
    p: float
    p_holm: float
    significant: bool


def class_drops(reference: NDArray[np.intp], candidate: NDArray[np.intp], labels: Labels,
                names: Sequence[str], level: float) -> list[ClassDrop]:
    """Classes in order, from predictions and labels (N,).

    With probability 1 - level at least no class is called significant that FP32 and INT8 get right equally often.
    A class without an image has no counts.
    """
    pairs = []
    for index in range(len(names)):
        own = labels == index
        pairs.append(pair(reference[own], candidate[own], labels[own]) if own.any() else None)
    values = [mcnemar_p(paired) if paired else 1.0 for paired in pairs]
    return [ClassDrop(name=name, paired=paired, p=p, p_holm=adjusted, significant=adjusted <= level)
            for name, paired, p, adjusted in zip(names, pairs, values, holm(values))]
