"""What every step asks of images: `Images`, held as pixels (`ImageSet`) or decoded as needed (`LazyImages`).

Nothing here knows how they lie on a disk.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_se.data.preprocessing import Preprocessing, tensor

Labels = NDArray[np.integer[Any]]
Own = TypeVar("Own", bound="Images")
HASH_BYTES = 32


class Images(ABC):
    """Images of one named split in a fixed order, with the preprocessing of the model that sees them.

    `labels` are (N,) indices of the model's outputs, None when nothing says them.
    """

    name: str
    split: str
    labels: Labels | None
    preprocessing: Preprocessing

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def sha256(self) -> str:
        """What the images and labels are, in order, as a hexadecimal hash."""

    @property
    @abstractmethod
    def hashes(self) -> NDArray[np.uint8]:
        """(N, 32): the hash of each image's content, which is the same in every set that holds it."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image's pixels."""

    @abstractmethod
    def pixel_batches(self, size: int) -> Iterator[NDArray[np.uint8]]:
        """Pixels (n, channels, height, width), `size` images at once and in order; the last batch may be shorter."""

    @abstractmethod
    def image(self, index: int) -> NDArray[np.uint8]:
        """The pixels (channels, height, width) of one image."""

    @abstractmethod
    def take(self: Own, indices: Sequence[int] | NDArray[np.integer[Any]]) -> Own:
        """The images at these places, in this order."""

    @abstractmethod
    def seen_by(self: Own, how: Preprocessing) -> Own:
        """The same images for another model."""

    @abstractmethod
    def packed(self: Own) -> Own:
        """The same images with all that they are made from in memory, to be pickled; DataError."""

    def called(self, index: int) -> str:
        """Where one image is, for messages."""
        return f"{self.name}, image {index}"

    @property
    def key(self) -> str:
        """What the pixels depend on beside the preprocessing, for caches of what was computed from them."""
        return self.sha256

    def whole(self: Own) -> Own:
        """Without those that cannot be decoded, which `skipped` counts; pixels need no decoding."""
        return self

    @property
    def skipped(self) -> int:
        """How many broken images were left out of it."""
        return 0

    def batches(self, size: int) -> Iterator[NDArray[np.float32]]:
        """Inputs of the model, `size` images at once and in order; the last batch may be shorter."""
        for pixels in self.pixel_batches(size):
            yield tensor(pixels, self.preprocessing)

    def fits(self, shape: Sequence[int | None]) -> bool:
        """Whether a model that takes `shape`, in the order of its axes and None for any, takes these images."""
        how, (_, height, width) = self.preprocessing, self.shape
        own = (how.channels, height, width) if how.axes == "NCHW" else (height, width, how.channels)
        return all(size is None or size == have for size, have in zip(shape, own))

    def first(self: Own, count: int) -> Own:
        """The first `count` images."""
        return self.take(np.arange(min(count, len(self))))

    def sample(self: Own, count: int) -> Own:
        """`count` images that stand for all of them, always the same."""
        return self if count >= len(self) else self.take(self.sampled(count))

    def sampled(self, count: int) -> NDArray[np.int64]:
        """Their places: an equal share of each class, or of all without labels. Images may lie class by class."""
        return drawn(np.zeros(len(self), np.int32) if self.labels is None else self.labels, count, seed=0)

    @property
    def different(self) -> int:
        """How many of the images differ in content."""
        return len(np.unique(self.hashes, axis=0))


def hash_of_pixels(pixels: NDArray[np.uint8]) -> bytes:
    """SHA-256 of one image (1 or 3, height, width) as RGB at its own size, however it is stored."""
    whole = np.broadcast_to(pixels, (3, *pixels.shape[1:]))
    digest = hashlib.sha256(f"{pixels.shape[1]}x{pixels.shape[2]}:".encode())
    digest.update(np.ascontiguousarray(whole.transpose(1, 2, 0)).tobytes())
    return digest.digest()


def drawn(labels: Labels, limit: int, seed: int) -> NDArray[np.int64]:
    """At most `limit` places, ascending: an equal share of every class as far as it has images.

    Of more classes than `limit` that many are drawn.
    """
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    random, left, chosen = np.random.default_rng(seed), limit, []
    if len(classes) > limit:  # not the first ones: neighbours in the order of classes are alike, as ImageNet's are
        classes = [classes[place] for place in np.sort(random.choice(len(classes), limit, replace=False))]
    # The smallest classes first, so that what they lack is shared by the others.
    for position, places in enumerate(sorted(classes, key=len)):
        share = min(len(places), -(-left // (len(classes) - position)))
        chosen.append(random.choice(places, share, replace=False))
        left -= share
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)
