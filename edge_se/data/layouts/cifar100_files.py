"""A folder with CIFAR-100's official binary files: two label bytes and 3,072 pixel bytes a record.

Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from edge_se.core.errors import DataError
from edge_se.data.contents import TEST, TRAIN, VALIDATION, Contents
from edge_se.data.layout import Layout
from edge_se.data.records import Records
from edge_se.data.slices import Slices, opened
from edge_se.data.splits import balanced

FOLDER = "cifar-100-binary"
NAMES = "fine_label_names.txt"
COUNTS = {"train.bin": 50_000, "test.bin": 10_000}
RECORD = 2 + 3 * 32 * 32
CHOOSING = 10  # every tenth training image is of the validation split: 5,000 of 50,000, of each class as many
SEED = 20090408
_FIX = f"unpack the official {FOLDER}.tar.gz again"


def dataset(folder: Path) -> Contents:
    """45,000 images to train on, 5,000 to choose on, 10,000 to judge on, with the official names."""
    root = _at(folder)
    assert root is not None
    try:
        names = tuple((root / NAMES).read_text(encoding="utf-8").split())
    except (OSError, ValueError) as error:
        raise DataError("cannot be read", where=root / NAMES, fix=_FIX) from error
    return Contents(classes=names, splits={split: partial(_records, root, split, len(names))
                                           for split in (TRAIN, VALIDATION, TEST)})


def _records(root: Path, split: str, classes: int) -> Records:
    path = root / ("test.bin" if split == TEST else "train.bin")
    file = opened(path)
    count, size = COUNTS[path.name], file.seek(0, 2)
    if size != count * RECORD:
        raise DataError(f"{size:,} bytes instead of {count * RECORD:,}", where=path, fix=_FIX)
    file.seek(0)
    labels = np.frombuffer(b"".join(file.read(RECORD)[1:2] for _ in range(count)), np.uint8)
    if labels.max() >= classes:
        raise DataError(f"has label {labels.max()}, and {NAMES} names {classes}", where=path, fix=_FIX)
    pixels = Slices(file, 0, RECORD)
    whole = Records(labels=labels.astype(np.int32), name=lambda index: f"{path}, image {index}",
                    read=lambda index: pixels.read(index)[2:].reshape(3, 32, 32))
    if split == TEST:
        return whole
    choosing = balanced(labels, count // CHOOSING, SEED)
    return whole.take(choosing if split == VALIDATION else np.setdiff1d(np.arange(count), choosing))


def _at(folder: Path) -> Path | None:
    return next((path for path in (folder, folder / FOLDER) if path.name == FOLDER and path.is_dir()), None)


LAYOUT = Layout(name="CIFAR-100", about="CIFAR-100's own files", tells=lambda path: _at(path) is not None,
                dataset=dataset)
