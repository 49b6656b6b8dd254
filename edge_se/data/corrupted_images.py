"""A set of images under a corruption, held or made as they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.data.corruptions import Pixels, corrupt, require_corruption
from edge_se.data.images import Images, Labels
from edge_se.data.preprocessing import Preprocessing
from edge_se.data.splits import ImageSet


def corrupted(images: Images, name: str, severity: int, *, seed: int = 0) -> Images:
    """`images` under a corruption, in their order, with their labels; raises DataError as `corrupt` does."""
    if not isinstance(images, ImageSet):
        require_corruption(name, severity)
        return CorruptedImages(images=images, corruption=name, severity=severity, seed=seed,
                               positions=np.arange(len(images)))
    return replace(images, name=f"{images.name}+{name}-{severity}",
                   pixels=corrupt(images.pixels, name, severity, seed=seed))


@dataclass(frozen=True, kw_only=True)
class CorruptedImages(Images):
    """`images` under a corruption, made as they are asked for. `positions` (N,) are the places that draws come from."""

    images: Images
    corruption: str
    severity: int
    seed: int
    positions: NDArray[np.int64]

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the images, and what was done."""
        return f"{self.images.name}+{self.corruption}-{self.severity}"

    @property
    def split(self) -> str:  # type: ignore[override]
        """That of the images."""
        return self.images.split

    @property
    def labels(self) -> Labels | None:  # type: ignore[override]
        """Those of the images."""
        return self.images.labels

    @property
    def preprocessing(self) -> Preprocessing:  # type: ignore[override]
        """That of the images."""
        return self.images.preprocessing

    @property
    def sha256(self) -> str:
        """Hash of what the pixels are made from."""
        told = f"{self.images.key} {self.corruption} {self.severity} {self.seed} {self.positions.tolist()}"
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def hashes(self) -> NDArray[np.uint8]:
        """Those of the images before."""
        return self.images.hashes

    @property
    def shape(self) -> tuple[int, int, int]:
        """That of the images."""
        return self.images.shape

    @property
    def skipped(self) -> int:
        """As many as of the images."""
        return self.images.skipped

    def __len__(self) -> int:
        return len(self.images)

    def pixel_batches(self, size: int) -> Iterator[NDArray[np.uint8]]:
        """Corrupted batch by batch."""
        start = 0
        for pixels in self.images.pixel_batches(size):
            yield self._made(pixels, self.positions[start : start + len(pixels)])
            start += len(pixels)

    def image(self, index: int) -> NDArray[np.uint8]:
        """One of them."""
        pixels: NDArray[np.uint8] = self._made(self.images.image(index)[None], self.positions[index : index + 1])[0]
        return pixels

    def take(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> CorruptedImages:
        """They look the same whatever stands beside them."""
        places = np.asarray(indices, np.int64)
        return replace(self, images=self.images.take(places), positions=self.positions[places])

    def seen_by(self, how: Preprocessing) -> CorruptedImages:
        """The same for another model."""
        return replace(self, images=self.images.seen_by(how))

    def packed(self) -> CorruptedImages:
        """The images before; they are corrupted where they are looked at."""
        return replace(self, images=self.images.packed())

    def _made(self, pixels: Pixels, positions: NDArray[np.int64]) -> Pixels:
        return corrupt(pixels, self.corruption, self.severity, seed=self.seed, positions=positions)
