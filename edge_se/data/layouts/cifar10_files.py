"""A folder with CIFAR-10's own files, official or torchvision's."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edge_se.core.assets import asset
from edge_se.data.cifar10 import CLASSES, at
from edge_se.data.contents import Contents
from edge_se.data.layout import Layout, Wanted
from edge_se.data.splits import SPLITS, ImageSet, load, load_manifest

INDICES = "cifar10-calib512"


def calibration(folder: Path, wanted: Wanted) -> ImageSet:
    """The 512 class-balanced training images that the default takes; DataError when a file is not the original."""
    cifar = at(folder)
    assert cifar is not None  # `tells` said so
    return load_manifest(asset("calibration", f"{INDICES}.json"), cifar).seen_by(wanted.preprocessing)


def dataset(folder: Path) -> Contents:
    """The 45,000, 5,000 and 10,000 images of the index manifests."""
    cifar = at(folder)
    assert cifar is not None
    return Contents(classes=CLASSES, splits={split: partial(load, split, cifar) for split in SPLITS})


LAYOUT = Layout(name="CIFAR-10", about="CIFAR-10's own files", tells=lambda path: at(path) is not None,
                calibration=calibration, dataset=dataset)
