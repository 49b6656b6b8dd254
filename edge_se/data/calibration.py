"""Calibration sets: which images the INT8 ranges come from. Never the test set."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.assets import asset
from edge_se.core.errors import CalibrationError, did_you_mean
from edge_se.core.files import write_bytes
from edge_se.data.cifar10 import Cifar10, require
from edge_se.data.folders import load_folder
from edge_se.data.splits import ImageSet, load_manifest, read_manifest

REAL = "cifar10-calib512"
SYNTHETIC = "synthetic-256"


def bundled() -> list[str]:
    """Names of the calibration sets that are shipped."""
    folder = asset("calibration")
    return sorted(path.stem for path in folder.iterdir() if path.suffix == ".npz" or "calib" in path.stem)


def load(name: str | None, cifar: Cifar10 | None, *, height: int = 32, width: int = 32) -> ImageSet:
    """A bundled set by name; an index manifest (.json), an image archive (.npz) or a folder of images by path.

    Without a name: 512 class-balanced CIFAR-10 training images where the data set is at hand, else the bundled
    synthetic set. Raises CalibrationError for an unknown name and for images of the test set.
    """
    if name is None and (height, width) != (32, 32):
        raise CalibrationError(f"the bundled images are 32x32, the model takes {height}x{width}", where="--calibration",
                               fix="give a folder of images of the kind that the model was trained on")
    if name is not None and name not in bundled() and Path(name).is_dir():
        return load_folder(Path(name), height=height, width=width)
    path = _path_of(name or (REAL if cifar else SYNTHETIC))
    if path.suffix == ".npz":
        return read_archive(path)
    manifest = read_manifest(path)
    if manifest["source"] == "test" or manifest["split"] in ("test", "validation"):
        raise CalibrationError(f"its images are of the {manifest['split']} split of '{manifest['source']}'", where=path,
                               fix="calibrate on training images, or the figures that follow mean nothing")
    return load_manifest(path, cifar or require())


def enlarged(images: ImageSet, size: int) -> ImageSet:
    """`images` at `size` x `size`, each pixel repeated; to run a net of another size, not to judge it."""
    height, width = images.pixels.shape[2:]
    rows, columns = np.arange(size) * height // size, np.arange(size) * width // size
    return ImageSet(name=f"{images.name}-at-{size}", split=images.split, pixels=images.pixels[:, :, rows][..., columns],
                    labels=images.labels, mean=images.mean, std=images.std)


def read_archive(path: Path) -> ImageSet:
    """An .npz with `pixels`, uint8 (N, 3, H, W)."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            pixels = archive["pixels"]
    except FileNotFoundError as missing:
        raise CalibrationError("no such calibration set", where=path) from missing
    except Exception as broken:  # zipfile, zlib and numpy each have their own ways to say "broken"
        raise CalibrationError(f"not an .npz with an array 'pixels' ({broken})", where=path) from broken
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1] != 3 or not len(pixels):
        raise CalibrationError(f"'pixels' is {pixels.dtype} {pixels.shape}, not uint8 (N, 3, H, W)", where=path)
    split = "synthetic" if path.stem.startswith("synthetic") else "calibration"
    return ImageSet(name=path.stem, split=split, pixels=pixels, labels=None)


def write_archive(path: Path, pixels: NDArray[np.uint8], provenance: dict[str, Any] | None = None) -> None:
    """Writes what `read_archive` reads, and where the images came from; equal content gives equal bytes."""
    content = io.BytesIO()
    np.savez_compressed(content, pixels=pixels, provenance=np.array(json.dumps(provenance or {}, sort_keys=True)))
    write_bytes(path, content.getvalue())


def _path_of(name: str) -> Path:
    if name in bundled():
        return next(path for path in asset("calibration").iterdir()
                    if path.stem == name and path.suffix in (".npz", ".json"))
    path = Path(name)
    if path.suffix in (".npz", ".json"):
        return path
    raise CalibrationError(f"unknown calibration set '{name}'",
                           fix=f"{did_you_mean(name, bundled())}, or give a folder of images, a .json manifest or an "
                               ".npz file")
