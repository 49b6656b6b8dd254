"""The images that an export calibrates on and chooses by."""

from __future__ import annotations

from edge_se.data import calibration as calibration_sets
from edge_se.data import cifar10, splits
from edge_se.data.images import Images
from edge_se.data.preprocessing import CIFAR10
from edge_se.graph.source import Source

ENLARGED = 32  # images that suffice for an untrained net


def calibration_images(source: Source, name: str | None, cifar: cifar10.Cifar10 | None) -> Images:
    """The calibration set at the model's size, with the model's preprocessing."""
    how = source.metadata.preprocessing
    if source.is_untrained and name is None and how.size != CIFAR10.size:
        return calibration_sets.enlarged(calibration_sets.load(None, None).first(ENLARGED), how)
    return calibration_sets.load(name, cifar, how)


def held_out_images(source: Source, images: Images, cifar: cifar10.Cifar10 | None) -> Images:
    """What placements and foldings are chosen on: validation images, or the calibration images where none are here."""
    return splits.load("validation", cifar) if cifar and source.is_cifar10 else images
