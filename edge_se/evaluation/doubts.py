"""Reasons to doubt a verdict, told beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.artifacts import Artifact, Build
from edge_se.data.images import Images, Labels
from edge_se.evaluation.accuracy import NONE

AGREEMENT = 0.9  # of predictions: below it INT8 is hardly the same net, whatever its accuracy
AGREES = "INT8 and FP32 agree on only {:.1f} % of the images"
CHANCE = ("FP32 is not surely better than chance: INT8 cannot lose what is not there. Give more images, or check the "
          "labels, their order and the normalisation with `edge-se data check`")
DIFFERENT = 0.99  # of the images: below it their copies make an interval too narrow
NOTHING = "nothing in the file runs in INT8: no product of a layer is quantized"
Predictions = NDArray[np.intp]


def above_chance(right: int, labels: Labels, classes: int, alpha: float) -> bool:
    """Whether `right` of the labels (n,) are more than guesses get, by the exact binomial test at one-sided alpha.

    A guess is right once in `classes`, or as often as the most frequent label.
    """
    from scipy.stats import binomtest

    guessing = max(1 / classes, float(np.bincount(labels, minlength=classes).max()) / len(labels))
    return bool(binomtest(right, len(labels), min(1.0, guessing), alternative="greater").pvalue <= alpha)


def doubts(build: Build, artifact: Artifact, reference: Predictions, predictions: Predictions, *,
           chance: bool) -> list[str]:
    """Doubts in words, for one INT8 file and its FP32 on the same images. `chance`: FP32 is no better than chance."""
    files = ("FP32", reference), ("INT8", predictions)
    reasons = [CHANCE] if chance else []
    reasons += [f"{name} answers every image with one class"
                for name, own in files if len(own) > 1 and own[0] != NONE and (own == own[0]).all()]
    reasons += [f"{name} answers {(own == NONE).sum():,} of {len(own):,} images with NaN, which is no class"
                for name, own in files if (own == NONE).any()]
    agreement = float((reference == predictions).mean())
    if agreement < AGREEMENT:
        reasons.append(AGREES.format(100 * agreement))
    if artifact.int8_mac_share == 0:
        reasons.append(NOTHING)
    return reasons + calibration_doubts(build.calibration) + _of_source(build.source)


def doubts_of_images(images: Images) -> list[str]:
    """Doubts about the images that a verdict is of, whatever the file."""
    if (different := images.different) >= DIFFERENT * len(images):
        return []
    return [f"only {different:,} of the {len(images):,} images differ: a copy tells nothing new, so the interval is "
            "too narrow"]


def doubts_of(artifact: Artifact) -> list[str]:
    """Doubts about an INT8 file of which no more is known than what `export` measured."""
    reasons = []
    if artifact.agreement_with_fp32 < 100 * AGREEMENT:
        reasons.append(f"{AGREES.format(artifact.agreement_with_fp32)}: try --placement auto and --method auto, and "
                       "check that the calibration images are prepared as the model wants them")
    if artifact.int8_mac_share == 0:
        reasons.append(NOTHING)
    return reasons


def calibration_doubts(calibration: dict[str, Any] | None) -> list[str]:
    """Doubts about the calibration images, as the manifest describes them."""
    told = calibration or {}
    if told.get("images") == 1:
        return ["INT8 ranges come from one calibration image"]
    if told.get("different") == 1:
        return [f"INT8 ranges come from {told.get('images')} calibration images that are all the same"]
    return []


def _of_source(source: dict[str, Any]) -> list[str]:
    folding = source.get("gates")
    if not isinstance(folding, dict):
        return []
    cost = folding.get("drop_pp")
    lost = f", {cost:+.2f} points on held-out images," if isinstance(cost, (int, float)) else ""
    return [f"FP32 is the net with folded excitations: what folding cost{lost} is not in the drop"]
