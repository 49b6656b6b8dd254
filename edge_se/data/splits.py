"""Which images are used for what: index manifests, named by split, checked by hash.

Train on 45,000 of the training images, choose on the other 5,000, read the 10,000 test images for final figures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_se.core.assets import asset
from edge_se.core.errors import DataError, did_you_mean
from edge_se.core.files import read_json
from edge_se.data.cifar10 import Cifar10, Source
from edge_se.data.images import HASH_BYTES, Images, hash_of_pixels
from edge_se.data.preprocessing import CIFAR10, Preprocessing, tensor

SCHEMA = "edge-se/indices/1"
_AGAIN = "make the manifest again"
Split = Literal["train", "validation", "test", "calibration"]
SPLITS = {"train": "cifar10-train45k", "validation": "cifar10-val5k", "test": "cifar10-test10k"}


@dataclass(frozen=True, kw_only=True)
class ImageSet(Images):
    """Images that are held: RGB uint8 (N, 3, H, W), labels (N,) or None when unlabelled.

    `preprocessing` is that of the model that sees them. The pixels have its size already. `mixed` says that the images
    lie in a mixed order, not class by class.
    """

    name: str
    split: str
    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None
    preprocessing: Preprocessing = CIFAR10
    mixed: bool = False

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def sha256(self) -> str:
        """Hash of the pixels and labels in order."""
        return images_sha256(self.pixels, self.labels)

    @property
    def hashes(self) -> NDArray[np.uint8]:
        """(N, 32): of each image's pixels."""
        digests = b"".join(hash_of_pixels(image) for image in self.pixels)
        return np.frombuffer(digests, np.uint8).reshape(len(self), HASH_BYTES)

    @property
    def shape(self) -> tuple[int, int, int]:
        """That of the pixels."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def pixel_batches(self, size: int) -> Iterator[NDArray[np.uint8]]:
        """Parts of the pixels."""
        for start in range(0, len(self), size):
            yield self.pixels[start : start + size]

    def image(self, index: int) -> NDArray[np.uint8]:
        """One of the pixels."""
        pixels: NDArray[np.uint8] = self.pixels[index]
        return pixels

    def take(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> ImageSet:
        """Copies of those at these places."""
        places = np.asarray(indices, np.int64)
        return replace(self, pixels=self.pixels[places], labels=None if self.labels is None else self.labels[places])

    def first(self, count: int) -> ImageSet:
        """The first `count` images, not copied."""
        return replace(self, pixels=self.pixels[:count], labels=None if self.labels is None else self.labels[:count])

    def sampled(self, count: int) -> NDArray[np.int64]:
        """The first ones of a `mixed` order."""
        return np.arange(min(count, len(self))) if self.mixed else super().sampled(count)

    def seen_by(self, how: Preprocessing) -> ImageSet:
        """The same pixels for another model of their size."""
        return replace(self, preprocessing=how)

    def packed(self) -> ImageSet:
        """They are held anyway."""
        return self


def filled(batch: NDArray[np.float32], fixed: int | None) -> NDArray[np.float32]:
    """`batch` with copies of its last image up to `fixed`, as a graph with a fixed batch takes it; None: as it is."""
    if fixed is None or len(batch) == fixed:
        return batch
    return np.concatenate([batch, np.repeat(batch[-1:], fixed - len(batch), axis=0)])


def normalise(pixels: NDArray[np.uint8], how: Preprocessing = CIFAR10) -> NDArray[np.float32]:
    """uint8 (N, 3, H, W) to float32, zero mean and unit variance per channel: what every exported graph takes."""
    normalised: NDArray[np.float32] = tensor(pixels, how)
    return normalised


def images_sha256(pixels: NDArray[np.uint8], labels: NDArray[np.uint8] | None) -> str:
    """Hexadecimal SHA-256 over all pixels, then all labels."""
    digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes())
    if labels is not None:
        digest.update(np.ascontiguousarray(labels).tobytes())
    return digest.hexdigest()


def load(split: str, cifar: Cifar10) -> ImageSet:
    """The images of `train`, `validation` or `test`."""
    if split not in SPLITS:
        raise DataError(f"unknown split '{split}'", fix=did_you_mean(split, SPLITS))
    return load_manifest(asset("calibration", f"{SPLITS[split]}.json"), cifar)


def load_manifest(path: Path, cifar: Cifar10) -> ImageSet:
    """The images that an index manifest names; raises DataError when they are not the ones it was made from."""
    manifest = read_manifest(path)
    pixels, labels = cifar.read(manifest["source"])
    indices = _indices(manifest, path, len(pixels))
    pixels, labels = pixels[indices], labels[indices]
    if images_sha256(pixels, labels) != manifest["sha256"]:
        raise DataError("the images at its indices are not those it was made from", where=path,
                        fix=f"{_AGAIN}, or use the data set that it names")
    return ImageSet(name=path.stem, split=manifest["split"], pixels=pixels, labels=labels, mixed=True)


def read_manifest(path: Path) -> dict[str, Any]:
    """An index manifest: schema, dataset, split, source, sha256 and one of indices, all_except, all."""
    manifest = read_json(path, DataError)
    missing = {"schema", "split", "source", "sha256"} - manifest.keys()
    if missing:
        raise DataError(f"not an index manifest: no '{sorted(missing)[0]}'", where=path, fix=_AGAIN)
    if manifest["schema"] != SCHEMA:
        raise DataError(f"schema {manifest['schema']!r} is not {SCHEMA!r}", where=path, fix=_AGAIN)
    if manifest["source"] not in ("train", "test"):
        raise DataError(f"source {manifest['source']!r} is neither 'train' nor 'test'", where=path, fix=_AGAIN)
    return manifest


def _indices(manifest: dict[str, Any], path: Path, available: int) -> NDArray[np.int64]:
    if manifest.get("all") is True:
        return np.arange(available)
    if "all_except" in manifest:
        name = manifest["all_except"]
        if not isinstance(name, str) or not name or Path(name).name != name:
            raise DataError(f"all_except {name!r} names no manifest beside it", where=path, fix=_AGAIN)
        sibling = path.with_name(f"{name}.json")
        excluded = read_manifest(sibling)
        if "all_except" in excluded:
            raise DataError(f"all_except '{name}' does not list indices itself", where=path, fix=_AGAIN)
        return np.setdiff1d(np.arange(available), _indices(excluded, sibling, available))
    try:
        indices = np.asarray(manifest["indices"], dtype=np.int64)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise DataError("no list of integer 'indices'", where=path, fix=_AGAIN) from error
    if indices.ndim != 1 or not len(indices) or indices.min() < 0 or indices.max() >= available:
        raise DataError(f"its indices are not within 0..{available - 1}", where=path, fix=_AGAIN)
    return indices


def make_manifest(*, split: Split, source: Source, pixels: NDArray[np.uint8], labels: NDArray[np.uint8],
                  indices: NDArray[np.int64], how: dict[str, Any]) -> dict[str, Any]:
    """A manifest document for `indices` into the whole `source`; `how` is one of the three ways to name them."""
    return {"schema": SCHEMA, "dataset": "cifar10", "split": split, "source": source, "count": len(indices),
            "sha256": images_sha256(pixels[indices], labels[indices]), **how}


def balanced(labels: NDArray[np.uint8], count: int, seed: int,
             among: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """`count` indices with as equal class counts as can be, drawn by `seed` from `among` (all), ascending."""
    among = np.arange(len(labels)) if among is None else among
    classes = np.unique(labels[among])
    shares = [count // len(classes) + (position < count % len(classes)) for position in range(len(classes))]
    random = np.random.default_rng(seed)
    drawn = [random.choice(among[labels[among] == label], size=share, replace=False)
             for label, share in zip(classes, shares)]
    return np.sort(np.concatenate(drawn))
