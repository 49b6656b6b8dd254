"""A folder of image files: class folders or flat."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_se.core.errors import CalibrationError
from edge_se.data.layout import Layout, Wanted
from edge_se.data.preprocessing import read_image
from edge_se.data.splits import ImageSet
from edge_se.device.agent.preprocess import SUFFIXES


def calibration(folder: Path, wanted: Wanted) -> ImageSet:
    """Up to `limit` images, as many of each class folder as can be.

    Raises CalibrationError when there are none or one cannot be read.
    """
    files = _chosen(folder, wanted.limit, wanted.seed)
    pixels = np.empty((len(files), 3, *wanted.preprocessing.size), np.uint8)
    for position, path in enumerate(files):
        pixels[position] = read_image(path, wanted.preprocessing)
    return ImageSet(name=folder.resolve().name, split="calibration", pixels=pixels, labels=None,
                    preprocessing=wanted.preprocessing)


def _chosen(folder: Path, limit: int, seed: int) -> list[Path]:
    """Files in order of their path; with more than `limit`, an equal share of every folder, drawn by `seed`."""
    by_folder: dict[Path, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            by_folder.setdefault(path.parent, []).append(path)
    if not by_folder:
        raise CalibrationError(f"holds no image ({', '.join(SUFFIXES)})", where=folder,
                               fix="give a folder of images, flat or with one folder per class")
    random, left, chosen = np.random.default_rng(seed), limit, []
    # The smallest folders first, so that what they lack is shared by the others.
    for position, files in enumerate(sorted(by_folder.values(), key=len)):
        share = min(len(files), -(-left // (len(by_folder) - position)))
        chosen += [files[index] for index in random.choice(len(files), share, replace=False)]
        left -= share
    return sorted(chosen)


LAYOUT = Layout(name="image folder", about="a folder of images", tells=Path.is_dir, calibration=calibration,
                general=True)
