"""A folder of image files: split folders with class folders, class folders alone, or flat.

As torchvision's ImageFolder and Ultralytics' classification sets have them. What is hidden (`.x`) is no image.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from edge_se.core.errors import CalibrationError, DataError
from edge_se.data.contents import TEST, TRAIN, VALIDATION, WHOLE, Contents, split_called
from edge_se.data.images import drawn
from edge_se.data.layout import Layout, Wanted
from edge_se.data.lazy_images import LazyImages
from edge_se.data.records import ENDINGS, Records
from edge_se.device.agent.preprocess import SUFFIXES

_SPLITS = (TRAIN, VALIDATION, TEST)


def dataset(folder: Path) -> Contents:
    """Its splits by name, else its class folders; DataError where images lie in no class folder."""
    parts = _parts(folder)
    own = split_called(folder.resolve().name)
    parts = parts or {own if own in _SPLITS else WHOLE: folder}
    found = {split: {part.name: part for part in _folders(path)} for split, path in parts.items()}
    classes = tuple(sorted({name for names in found.values() for name in names}))
    if not classes:
        raise DataError("holds no folder for each class: nothing says what the images show", where=folder,
                        fix="put the images of each class into a folder of its name, below train/ and test/ or alone")
    if len(classes) == 1 and (meant := _deeper(folder)):
        raise DataError(f"holds one folder, '{meant.relative_to(folder)}', and no class folders beside it",
                        where=folder, fix=f"give {meant}, where the class folders lie")
    numbers = {name: number for number, name in enumerate(classes)}

    def records(split: str) -> Records:
        files: list[str] = []
        labels: list[int] = []
        for name in sorted(found[split]):
            files += images_in(found[split][name])
            labels += [numbers[name]] * (len(files) - len(labels))
        if not files and _images_beside(parts[split]):
            raise DataError("its images lie in no class folder: nothing says what they show", where=parts[split],
                            fix="put each into a folder of its class's name, or move this folder away")
        return _records(files, labels)

    return Contents(classes=classes, splits={split: partial(records, split) for split in parts})


def _parts(folder: Path) -> dict[str, Path]:
    """Its folders that are called as a split is, by split; DataError where two are the same one."""
    parts: dict[str, Path] = {}
    for part in _folders(folder):
        split = split_called(part.name)
        if split in parts:
            raise DataError(f"holds '{parts[split].name}' and '{part.name}', and both are the {split} split",
                            where=folder, fix="leave one of them there")
        if split in _SPLITS:
            parts[split] = part
    return parts


def _deeper(folder: Path) -> Path | None:
    """The folder below that was meant, where one folder wraps all: an unpacked archive's. None where none is."""
    inner = folder
    while len(parts := _folders(inner)) == 1 and not _images_beside(inner):
        inner = parts[0]
    return inner if inner != folder and len(parts) > 1 and not _images_beside(inner) else None


def _images_beside(folder: Path) -> bool:
    return any(path.name.lower().endswith(ENDINGS) for path in folder.iterdir() if path.is_file())


def calibration(folder: Path, wanted: Wanted) -> LazyImages:
    """Up to `limit` images, as many of each folder as can be; of train/ where there is one.

    Raises CalibrationError when there are none.
    """
    train = next((part for part in _folders(folder) if split_called(part.name) == TRAIN), folder)
    files = [Path(file) for file in images_in(train)]
    if not files:
        raise CalibrationError(f"holds no image ({', '.join(SUFFIXES)})", where=train,
                               fix="give a folder of images, flat or with one folder per class")
    folders = {parent: number for number, parent in enumerate(dict.fromkeys(file.parent for file in files))}
    chosen = drawn(np.array([folders[file.parent] for file in files]), wanted.limit, wanted.seed)
    return LazyImages(name=folder.resolve().name, split="calibration", preprocessing=wanted.preprocessing, labels=None,
                      records=_records([str(files[place]) for place in chosen], [0] * len(chosen)))


def images_in(folder: Path) -> Iterator[str]:
    """Paths of the image files below, in order."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if entry.is_symlink() and folder.resolve().is_relative_to(Path(entry.path).resolve()):
                continue  # a link to where it is leads nowhere
            yield from images_in(Path(entry.path))
        elif entry.name.lower().endswith(ENDINGS):
            yield entry.path


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _records(files: list[str], labels: list[int]) -> Records:
    return Records(labels=np.array(labels, np.int32), read=lambda index: Path(files[index]).read_bytes(),
                   name=lambda index: files[index])


LAYOUT = Layout(name="image folder", about="a folder of images", tells=Path.is_dir, calibration=calibration,
                dataset=dataset, general=True)
