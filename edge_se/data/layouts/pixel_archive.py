"""An .npz with `pixels`, as `data synthesize` writes it; with `labels` it is a data set.

`pixels` are uint8 (N, 3, H, W), for data sets also (N, H, W, 3) or grey; `labels` are numbers or names, `names` those
of the classes, `split` one word for each image. A folder may hold one archive for each split, named so.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import CalibrationError, DataError
from edge_se.core.files import write_bytes
from edge_se.data.contents import TRAIN, WHOLE, Contents, labels_and_names, one_naming, split_called, split_of_name
from edge_se.data.images import Images, drawn
from edge_se.data.layout import Layout, Wanted
from edge_se.data.lazy_images import LazyImages
from edge_se.data.records import Records, joined
from edge_se.data.slices import Slices, unpacked
from edge_se.data.splits import ImageSet

_FIX = "give uint8 `pixels` (N, 3, H, W) or (N, H, W, 3), and one number or name in `labels` for each"


def read_archive(path: Path, wanted: Wanted | None = None) -> ImageSet:
    """All of its images; CalibrationError when it is broken or holds something else."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            pixels = archive["pixels"]
    except FileNotFoundError as missing:
        raise CalibrationError("no such calibration set", where=path, fix="check the path") from missing
    except Exception as broken:  # zipfile, zlib and numpy each raise other errors for a broken file
        raise CalibrationError(f"not an .npz with an array 'pixels' ({broken})", where=path,
                               fix="give uint8 `pixels` (N, 3, H, W)") from broken
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1] != 3 or not len(pixels):
        raise CalibrationError(f"'pixels' is {pixels.dtype} {pixels.shape}, not uint8 (N, 3, H, W)", where=path,
                               fix="write them so")
    synthetic = path.stem.startswith("synthetic")  # of one class after the other in turn
    return ImageSet(name=path.stem, split="synthetic" if synthetic else "calibration", pixels=pixels, labels=None,
                    preprocessing=(wanted or Wanted()).preprocessing, mixed=synthetic)


def write_archive(path: Path, pixels: NDArray[np.uint8], provenance: dict[str, Any] | None = None) -> None:
    """Writes what `read_archive` reads, and where the images came from; equal content gives equal bytes."""
    content = io.BytesIO()
    np.savez_compressed(content, pixels=pixels, provenance=np.array(json.dumps(provenance or {}, sort_keys=True)))
    write_bytes(path, content.getvalue())


def dataset(path: Path) -> Contents:
    """The images of its splits; DataError for an archive without labels, and for arrays that do not belong together."""
    found: dict[str, list[tuple[Path, NDArray[np.int64]]]] = {}
    told: dict[Path, list[Any]] = {}
    naming: dict[Path, tuple[str, ...]] = {}
    for file in _archives(path):
        arrays = _arrays(file)
        told[file] = arrays["labels"].tolist()
        naming[file] = tuple(map(str, arrays["names"].tolist() if "names" in arrays else ()))
        splits = list(map(split_called, map(str, arrays["split"].tolist()))) if "split" in arrays else [
            split_of_name(file)] * len(told[file])
        for split in dict.fromkeys(splits):
            own = np.flatnonzero(np.array(splits) == split)
            found.setdefault(split, []).append((file, own))
    if WHOLE in found and len(found) > 1:
        raise DataError(f"{found[WHOLE][0][0].name} tells no split, others do", where=path, fix=_FIX)
    names, every = one_naming(naming), [label for own in told.values() for label in own]
    labels, classes = labels_and_names(every, path)
    texts, places = [str(label).strip() for label in every], {name: number for number, name in enumerate(names)}
    digits = all(isinstance(label, str) for label in every) and places.keys() >= set(texts)  # they may be names, too
    if names and (classes or digits):
        if lacking := set(texts) - places.keys():
            raise DataError(f"'names' lacks {', '.join(sorted(lacking))}", where=path, fix=_FIX)
        labels = np.array([places[text] for text in texts], np.int32)
    starts = dict(zip(told, np.cumsum([0, *map(len, told.values())])))

    def records(split: str) -> Records:
        return joined([_records(file, labels[starts[file] : starts[file] + len(told[file])]).take(own)
                       for file, own in found[split]])

    return Contents(classes=names or classes, splits={split: partial(records, split) for split in found})


def calibration(path: Path, wanted: Wanted) -> Images:
    """Images to set ranges from: all of an archive without labels, else training images where it tells them."""
    if not path.is_dir() and not _has_labels(path):
        return read_archive(path, wanted)
    contents = dataset(path)
    split = next((name for name in (TRAIN, WHOLE) if name in contents.splits), next(iter(contents.splits)))
    records = contents.splits[split]()
    assert isinstance(records, Records)
    return LazyImages(name=path.stem, split="calibration", preprocessing=wanted.preprocessing, labels=None,
                      records=records.take(drawn(records.labels, wanted.limit, wanted.seed)))


def _records(path: Path, labels: NDArray[np.int32]) -> Records:
    """Images that are read one at a time: the archive is unpacked where it is compressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            file = unpacked(lambda: archive.open("pixels.npy"), path)
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as broken:
        raise DataError(f"not an .npz with an array 'pixels' ({broken})", where=path, fix=_FIX) from broken
    if dtype != np.uint8 or fortran or len(shape) not in (3, 4) or len(labels) != shape[0] or not len(labels):
        raise DataError(f"'pixels' is {dtype} {shape} for {len(labels)} labels", where=path, fix=_FIX)
    one = shape[1:] if len(shape) == 4 else (1, *shape[1:])
    first, last = (channels in (1, 3) for channels in (one[0], one[-1]))
    if first is last:
        raise DataError(f"'pixels' is {shape}, and nothing says which axis holds the channels", where=path, fix=_FIX)
    pixels = Slices(file, file.tell(), math.prod(one))

    def read(index: int) -> NDArray[np.uint8]:
        image = pixels.read(index).reshape(one)
        return image if first else image.transpose(2, 0, 1)

    return Records(labels=labels, read=read, name=lambda index: f"{path}, image {index}")


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All but the pixels; DataError unless they are of one length."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: _as_text(archive[name]) for name in ("labels", "names", "split") if name in archive}
            has_pixels = "pixels" in archive
    except Exception as broken:  # zipfile, zlib and numpy each raise other errors for a broken file
        raise DataError(f"is no .npz of arrays ({broken})", where=path, fix=_FIX) from broken
    if not has_pixels or "labels" not in arrays:
        raise DataError("holds no 'pixels' with 'labels'", where=path, fix=_FIX)
    sizes = {name: array.shape for name, array in arrays.items() if name != "names"}
    if len(set(sizes.values())) > 1 or arrays["labels"].ndim != 1 or arrays["labels"].dtype.kind not in "iuUS":
        raise DataError(f"its arrays do not belong together ({sizes})", where=path, fix=_FIX)
    return arrays


def _as_text(array: NDArray[Any]) -> NDArray[Any]:
    """Bytes, as h5py and old pickles have names, as text; anything else as it is."""
    return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array


def _has_labels(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "labels.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def _archives(path: Path) -> list[Path]:
    """The file itself, or those in a folder whose names tell splits."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix == ".npz" and split_of_name(file))
    return [path] if path.suffix == ".npz" else []


LAYOUT = Layout(name="pixel archive", about="an .npz of pixels", tells=lambda path: bool(_archives(path)),
                calibration=calibration, dataset=dataset)
