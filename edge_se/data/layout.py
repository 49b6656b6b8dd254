"""The seam between what a user names and the images in it: one `Layout` a module of `edge_se.data.layouts`."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from edge_se.core.errors import CalibrationError
from edge_se.data import layouts as package
from edge_se.data.cifar10 import Cifar10
from edge_se.data.contents import Contents
from edge_se.data.images import Images
from edge_se.data.preprocessing import CIFAR10, Preprocessing

LIMIT = 512  # images; ranges do not move beyond


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A request to a layout: images as the model of `preprocessing` sees them, at most `limit`, drawn by `seed`."""

    preprocessing: Preprocessing = CIFAR10
    limit: int = LIMIT
    seed: int = 0
    cifar: Cifar10 | None = None  # at hand, for lists of its indices


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One way in which images lie on a disk.

    `tells` says whether a path looks like it, without reading images. `calibration` returns images to set ranges from,
    RGB at the size of the model, and raises CalibrationError or DataError when they cannot be used. `dataset` returns
    the labelled images of each split; None for a layout without labels. A layout has one of the two or both: without
    `calibration`, ranges are set from the training images of the data set. A `general` layout is asked after the
    others.
    """

    name: str
    about: str  # what a user gives, for messages: "a folder of images"
    tells: Callable[[Path], bool]
    calibration: Callable[[Path, Wanted], Images] | None = None
    dataset: Callable[[Path], Contents] | None = None
    general: bool = False


def layouts() -> list[Layout]:
    """Every layout, the general ones last, each group in order of its module's name."""
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    every: list[Layout] = [import_module(f"{package.__name__}.{name}").LAYOUT for name in names]
    return sorted(every, key=lambda layout: layout.general)


def layout_of(path: Path) -> Layout | None:
    """The layout of `path`; None when no layout knows it, CalibrationError when two do."""
    every = layouts()
    for general in (False, True):
        told = [layout for layout in every if layout.general == general and layout.tells(path)]
        if len(told) > 1:
            raise CalibrationError(f"is {' and '.join(layout.about for layout in told)}", where=path,
                                   fix="give one of them alone")
        if told:
            return told[0]
    return None
