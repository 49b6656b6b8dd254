"""Augmentation of a whole batch at once: translation, flip and cutout are one gather from the resident uint8 tensor."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from edge_se.core.recipes import Augmentation
from edge_se.data.cifar10 import MEAN, STD


class Augmenter:
    """Turns indices into normalised, augmented batches on the device of `pixels` (uint8, (N, 3, H, W)).

    Every draw comes from the generator that the caller seeds, so a batch depends on (seed, epoch, step) alone
    and a resumed run sees exactly what the uninterrupted one would have seen.
    """

    def __init__(self, pixels: torch.Tensor, recipe: Augmentation, seed: int) -> None:
        self._pixels, self._recipe = pixels.permute(0, 2, 3, 1).contiguous(), recipe
        device = pixels.device
        self._size = pixels.shape[-1]
        side = torch.randint(0, 2, (len(pixels),), generator=torch.Generator().manual_seed(seed))
        self._first_side = side.to(device).bool()
        self._scale = (1 / (255 * torch.tensor(STD))).to(device)
        self._shift = (-torch.tensor(MEAN) / torch.tensor(STD)).to(device)

    def batch(self, indices: torch.Tensor, epoch: int, resolution: int, generator: torch.Generator) -> torch.Tensor:
        """Normalised float32 (n, 3, resolution, resolution), channels_last, for `indices` (n,) of the data."""
        device, count = self._pixels.device, len(indices)
        offsets = torch.randint(-self._recipe.translate, self._recipe.translate + 1, (2, count, 1),
                                generator=generator).to(device)
        steps = torch.arange(self._size, device=device)
        columns = torch.where(self._flipped(indices, epoch, generator)[:, None], steps.flip(0), steps)
        rows, columns = self._reflected(steps + offsets[0]), self._reflected(columns + offsets[1])
        images = self._pixels[indices[:, None, None], rows[:, :, None], columns[:, None, :]]
        images = (images.float() * self._scale + self._shift).permute(0, 3, 1, 2)
        if self._recipe.cutout:
            images = images * self._holes(count, generator)
        return resize(images, resolution)

    def _flipped(self, indices: torch.Tensor, epoch: int, generator: torch.Generator) -> torch.Tensor:
        if self._recipe.flip == "alternating":
            return self._first_side[indices] ^ bool(epoch % 2)
        if self._recipe.flip == "random":
            return torch.randint(0, 2, (len(indices),), generator=generator).to(indices.device).bool()
        return torch.zeros_like(indices, dtype=torch.bool)

    def _reflected(self, positions: torch.Tensor) -> torch.Tensor:
        last = self._size - 1
        return last - (last - positions.abs()).abs()

    def _holes(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """(n, 1, H, W) of ones with a zero square that may hang over (DeVries & Taylor, arXiv 1708.04552)."""
        centres = torch.randint(0, self._size, (2, count, 1), generator=generator).to(self._pixels.device)
        steps = torch.arange(self._size, device=self._pixels.device) + self._recipe.cutout // 2 - centres
        inside = (steps >= 0) & (steps < self._recipe.cutout)
        return (~(inside[0][:, :, None] & inside[1][:, None, :])).unsqueeze(1)


def resize(images: torch.Tensor, resolution: int) -> torch.Tensor:
    """(N, C, H, W) to (N, C, resolution, resolution), bilinear, antialiased when it shrinks; channels_last."""
    if images.shape[-1] != resolution:
        images = F.interpolate(images, size=(resolution, resolution), mode="bilinear", antialias=True)
    return images.contiguous(memory_format=torch.channels_last)
