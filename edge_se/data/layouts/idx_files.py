"""IDX files, as MNIST and Fashion-MNIST come: grey images and their labels, packed with gzip or not."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from edge_se.core.errors import DataError
from edge_se.data.contents import Contents, by_split
from edge_se.data.layout import Layout
from edge_se.data.records import Records
from edge_se.data.slices import Slices, opened

_FIX = "get it again: IDX is a header and one byte for each pixel or label"


def dataset(path: Path) -> Contents:
    """Its pairs of files by split; DataError where images have no labels beside them."""
    pairs = {file: _labels_of(file) for file in _images(path)}
    splits = by_split(list(pairs), path)
    for files in splits.values():
        if len(files) > 1:  # as EMNIST's, which are sets of other classes that share images
            raise DataError(f"holds several sets: {', '.join(file.name for file in files)}", where=path,
                            fix="give each set, its images and labels of every split, a folder of its own")
    return Contents(splits={split: partial(_records, file, pairs[file]) for split, (file,) in splits.items()})


def _images(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if _is_images(path) else []
    return sorted(file for folder in (path, path / "raw", path / "MNIST" / "raw") if folder.is_dir()
                  for file in folder.iterdir() if _is_images(file) and not _has_unpacked(file))


def _is_images(path: Path) -> bool:
    name = path.name.removesuffix(".gz")
    return name.endswith(("images-idx3-ubyte", "images.idx3-ubyte"))


def _has_unpacked(path: Path) -> bool:
    return path.suffix == ".gz" and path.with_suffix("").exists()


def _labels_of(images: Path) -> Path:
    name = images.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    for path in (images.with_name(name), images.with_name(f"{name}.gz")):
        if path.exists():
            return path
    raise DataError(f"there is no {name} beside it", where=images, fix="put the labels there")


def _records(images: Path, labels: Path) -> Records:
    file = opened(images)
    count, height, width = _header(file.read(16), 3, images)
    size = file.seek(0, 2)
    if size != 16 + count * height * width or not count:
        raise DataError(f"{size:,} bytes instead of {16 + count * height * width:,}", where=images, fix=_FIX)
    with opened(labels) as content:
        (told,) = _header(content.read(8), 1, labels)
        own = np.frombuffer(content.read(), np.uint8)
    if told != count or len(own) != count:
        raise DataError(f"holds {len(own):,} labels for {count:,} images", where=labels, fix=_FIX)
    pixels = Slices(file, 16, height * width)
    return Records(labels=own.astype(np.int32), name=lambda index: f"{images}, image {index}",
                   read=lambda index: pixels.read(index).reshape(1, height, width))


def _header(content: bytes, dimensions: int, where: Path) -> tuple[int, ...]:
    """The sizes in the header of unsigned bytes in so many dimensions."""
    if len(content) != 4 + 4 * dimensions or content[:4] != bytes((0, 0, 8, dimensions)):
        raise DataError("is no IDX file of bytes" if content[:2] != b"\0\0" else "is an IDX file of another kind",
                        where=where, fix=_FIX)
    return tuple(int(size) for size in np.frombuffer(content[4:], ">u4"))


LAYOUT = Layout(name="IDX", about="IDX files (MNIST)", tells=lambda path: bool(_images(path)), dataset=dataset)
