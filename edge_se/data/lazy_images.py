"""Images of any layout, decoded as they are needed: memory does not grow with their number beyond `HELD`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.environment import version_of
from edge_se.data.images import Images, Labels
from edge_se.data.preprocessing import Preprocessing
from edge_se.data.records import Records, in_order

HELD = 80 * 2**20  # bytes of pixels: as many as 512 images of 224 x 224 are decoded once


@dataclass(frozen=True, kw_only=True)
class LazyImages(Images):
    """`Images` over `Records`. `labels` are (N,) int32; reading pixels raises DataError for a broken image.

    `left_out` is how many broken ones --skip-broken left out. `known` are the content hashes where they were needed
    before.
    """

    name: str
    split: str
    records: Records
    labels: Labels | None
    preprocessing: Preprocessing
    left_out: int = 0
    known: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def hashes(self) -> NDArray[np.uint8]:
        """(N, 32) content hashes, computed once."""
        return self.records.hashes() if self.known is None else self.known

    @cached_property
    def sha256(self) -> str:
        """Hash of the ordered list of (content hash, label)."""
        labels = np.full(len(self), -1) if self.labels is None else self.labels
        rows = np.concatenate([self.hashes, labels.astype("<i4").view(np.uint8).reshape(len(self), 4)], axis=1)
        return hashlib.sha256(rows.tobytes()).hexdigest()

    @property
    def key(self) -> str:
        """Pixels also depend on who decodes."""
        return f"{self.sha256} Pillow {version_of('pillow')}"

    @property
    def skipped(self) -> int:
        """How many broken images were left out."""
        return self.left_out

    @property
    def shape(self) -> tuple[int, int, int]:
        """RGB at the size of the model."""
        return (3, *self.preprocessing.size)

    def called(self, index: int) -> str:
        """Its file, or its place in one."""
        return self.records.name(index)

    def pixel_batches(self, size: int) -> Iterator[NDArray[np.uint8]]:
        """Decoded by a few threads, a bounded way ahead."""
        decoded = in_order(self.image, len(self))
        for start in range(0, len(self), size):
            batch = np.empty((min(size, len(self) - start), *self.shape), np.uint8)
            for place in range(len(batch)):
                batch[place] = next(decoded)
            yield batch

    def image(self, index: int) -> NDArray[np.uint8]:
        """Decodes one, unless it was before and all of the set can be held."""
        if len(self) * math.prod(self.shape) > HELD:
            return self.records.pixels(index, self.preprocessing)
        pixels, here = self._held
        if not here[index]:
            pixels[index] = self.records.pixels(index, self.preprocessing)
            here[index] = True
        image: NDArray[np.uint8] = pixels[index]
        return image

    @cached_property
    def _held(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Pixels, and which of them were decoded."""
        return np.empty((len(self), *self.shape), np.uint8), np.zeros(len(self), np.bool_)

    def take(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> LazyImages:
        """Nothing is read."""
        places = np.asarray(indices, np.int64)
        hashes = self.__dict__.get("hashes", self.known)
        return replace(self, records=self.records.take(places),
                       labels=None if self.labels is None else self.labels[places],
                       known=None if hashes is None else hashes[places])

    def whole(self) -> LazyImages:
        """Every image is decoded to find the broken ones."""
        places = self.records.whole(self.preprocessing)
        return replace(self.take(places), left_out=self.left_out + len(self) - len(places))

    def seen_by(self, how: Preprocessing) -> LazyImages:
        """The same files, decoded for another model."""
        if how == self.preprocessing:
            return self
        return replace(self, preprocessing=how, known=self.__dict__.get("hashes", self.known))

    def packed(self) -> LazyImages:
        """The files as they are: they are decoded where they are looked at."""
        return replace(self, records=self.records.held(), known=self.__dict__.get("hashes", self.known))
