"""Calibration sets: which images the INT8 ranges come from. Never the test set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_se.core.assets import asset
from edge_se.core.errors import CalibrationError, did_you_mean
from edge_se.data.cifar10 import Cifar10
from edge_se.data.dataset import open_dataset
from edge_se.data.images import Images
from edge_se.data.layout import Layout, Wanted, layout_of, layouts
from edge_se.data.preprocessing import CIFAR10, Preprocessing
from edge_se.data.splits import ImageSet

REAL = "cifar10-calib512"
SYNTHETIC = "synthetic-256"


def bundled() -> list[str]:
    """Names of the calibration sets that are shipped."""
    folder = asset("calibration")
    return sorted(path.stem for path in folder.iterdir() if path.suffix == ".npz" or "calib" in path.stem)


def load(name: str | None, cifar: Cifar10 | None, how: Preprocessing = CIFAR10, *,
         skip_broken: bool = False) -> Images:
    """A bundled set by its name, else the images at a path, in any layout of `edge_se.data.layouts`.

    `how` is what the model does to an image. With `skip_broken` those that cannot be decoded are left out. Without a
    name: 512 class-balanced CIFAR-10 training images where the data set is at hand, else the bundled synthetic set.
    Raises CalibrationError for an unknown name and for images of the test set.
    """
    if name is None and how.size != CIFAR10.size:
        raise CalibrationError(f"the bundled images are 32x32, the model takes {how.size[0]}x{how.size[1]}",
                               where="--calibration",
                               fix="give images of the kind that the model was trained on: labelled ones with --data, "
                                   "or any with --calibration (a calibration.npz holds none)")
    path, layout = _known(name or (REAL if cifar else SYNTHETIC))
    if layout.calibration is None:
        return open_dataset(path, skip_broken=skip_broken).calibration(how)
    images = layout.calibration(path, Wanted(preprocessing=how, cifar=cifar))
    return images.whole() if skip_broken else images


def require_known(name: str) -> None:
    """Raises CalibrationError where `name` is no calibration set; no image is read."""
    _known(name)


def synthetic(how: Preprocessing) -> Images:
    """The bundled synthetic images as a model of any size sees them: to run it, not to judge it."""
    images = load(SYNTHETIC, None)
    return images.seen_by(how) if images.shape[1:] == how.size else enlarged(images, how)


def enlarged(images: Images, how: Preprocessing) -> ImageSet:
    """`images` at the size of `how`, each pixel repeated; to run a net of another size, not to judge it."""
    (_, height, width), (rows, columns) = images.shape, how.size
    down, right = np.arange(rows) * height // rows, np.arange(columns) * width // columns
    pixels = np.concatenate(list(images.pixel_batches(len(images))))[:, :, down][..., right]
    return ImageSet(name=f"{images.name}-at-{rows}", split=images.split, pixels=pixels, labels=None,
                    preprocessing=how, mixed=images.split == "synthetic")


def _known(name: str) -> tuple[Path, Layout]:
    path = _path_of(name)
    layout = layout_of(path)
    if layout is None:
        known = f"{', '.join(layout.about for layout in layouts()[:-1])} or {layouts()[-1].about}"
        raise CalibrationError(f"unknown calibration set '{name}'",
                               fix=did_you_mean(name, bundled(), otherwise=f"give {known}"))
    return path, layout


def _path_of(name: str) -> Path:
    if name not in bundled():
        return Path(name)
    return next(path for path in asset("calibration").iterdir()
                if path.stem == name and path.suffix in (".npz", ".json"))
