"""Calibration images from a folder of image files: class folders or flat, resized as classifiers are evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import CalibrationError, UnavailableError
from edge_se.data.splits import ImageSet

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
LIMIT = 512
CROP_SHARE = 0.875  # resize to size / 0.875, then crop: 256 -> 224, as torchvision's references evaluate
NO_CROP_BELOW = 64  # small images are used whole


def load_folder(folder: Path, *, height: int, width: int, limit: int = LIMIT, seed: int = 0) -> ImageSet:
    """Up to `limit` images, as many of each class folder as can be, as uint8 (N, 3, height, width) RGB.

    Raises CalibrationError when there are none or one cannot be read.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise UnavailableError("reading image files needs Pillow", where=folder, fix="pip install pillow") from error
    files = _chosen(folder, limit, seed)
    pixels = np.empty((len(files), 3, height, width), np.uint8)
    for position, path in enumerate(files):
        try:
            with Image.open(path) as image:
                pixels[position] = _fitted(image.convert("RGB"), height, width)
        except Exception as error:  # Pillow raises whatever its decoders stumble over
            raise CalibrationError(f"cannot be read as an image ({error})", where=path,
                                   fix="remove it, or put it right") from error
    return ImageSet(name=folder.resolve().name, split="calibration", pixels=pixels, labels=None)


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


def _fitted(image: object, height: int, width: int) -> NDArray[np.uint8]:
    """(3, height, width) from the centre of a Pillow image, the shorter side scaled to fit."""
    from PIL import Image

    assert isinstance(image, Image.Image)
    share = CROP_SHARE if min(height, width) >= NO_CROP_BELOW else 1.0
    scale = max(height / image.height, width / image.width) / share
    size = max(width, round(image.width * scale)), max(height, round(image.height * scale))
    resized = image.resize(size, Image.Resampling.BILINEAR) if size != image.size else image
    left, top = (resized.width - width) // 2, (resized.height - height) // 2
    cropped = resized.crop((left, top, left + width, top + height))
    pixels: NDArray[np.uint8] = np.asarray(cropped, dtype=np.uint8).transpose(2, 0, 1)
    return pixels
