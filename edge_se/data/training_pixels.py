"""The pixels that training draws its batches from: held on the device, or decoded for each batch."""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch

from edge_se.core.progress import SILENT, Progress
from edge_se.data.images import Images
from edge_se.data.records import in_order
from edge_se.data.splits import ImageSet

HELD = 2**30  # bytes of pixels that are decoded once and held; beyond, each batch is decoded anew
_CHUNK = 64   # images between two signs of progress


class TrainingPixels(Protocol):
    """Images by their place, as uint8 (n, H, W, 3) on `device`; height and width are `size`."""

    size: int
    device: torch.device

    def __len__(self) -> int: ...

    def of(self, indices: torch.Tensor) -> torch.Tensor:
        """The pixels of these images."""
        ...

    def expect(self, indices: torch.Tensor) -> None:
        """Says which images come next, so that they can be made ready beside the step at hand."""
        ...


class Held:
    """All of them, resident. `pixels` are uint8 (N, 3, H, W) on the device that trains."""

    def __init__(self, pixels: torch.Tensor) -> None:
        self._pixels = pixels.permute(0, 2, 3, 1).contiguous()
        self.size, self.device = pixels.shape[-1], pixels.device

    def __len__(self) -> int:
        return len(self._pixels)

    def of(self, indices: torch.Tensor) -> torch.Tensor:
        """One gather."""
        return self._pixels[indices]

    def expect(self, indices: torch.Tensor) -> None:
        """They are here."""


class Decoded:
    """Decoded by threads when a batch asks for them: memory does not grow with the number of images."""

    def __init__(self, images: Images, device: torch.device) -> None:
        self._images, self.device, self.size = images, device, images.shape[-1]
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="next-batch")
        self._next: tuple[list[int], Future[np.ndarray]] | None = None

    def __len__(self) -> int:
        return len(self._images)

    def of(self, indices: torch.Tensor) -> torch.Tensor:
        """What `expect` was told is there or on its way; else it is decoded now. DataError for a broken image."""
        wanted = indices.tolist()
        told, self._next = self._next, None
        pixels = told[1].result() if told and told[0] == wanted else self._made(wanted)
        return torch.from_numpy(pixels).permute(0, 2, 3, 1).to(self.device)

    def expect(self, indices: torch.Tensor) -> None:
        """Begins to decode them."""
        wanted = indices.tolist()
        self._next = wanted, self._pool.submit(self._made, wanted)

    def _made(self, places: list[int]) -> np.ndarray:
        return np.stack(list(in_order(lambda place: self._images.image(places[place]), len(places))))


def training_pixels(images: Images, device: torch.device, progress: Progress = SILENT) -> TrainingPixels:
    """The pixels of `images` for training on `device`: held where they take at most HELD bytes."""
    if isinstance(images, ImageSet):
        return Held(torch.from_numpy(images.pixels).to(device))
    if len(images) * math.prod(images.shape) > HELD:
        return Decoded(images, device)
    pixels, start = np.empty((len(images), *images.shape), np.uint8), 0
    with progress.task(f"reading {images.name}", len(images)) as advance:
        for batch in images.pixel_batches(_CHUNK):
            pixels[start : start + len(batch)] = batch
            start += len(batch)
            advance(len(batch))
    return Held(torch.from_numpy(pixels).to(device))
