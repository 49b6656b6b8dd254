"""Augmentation of a whole batch at once: translation, flip and cutout are one gather from uint8 pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from edge_se.core.recipes import Augmentation
from edge_se.data import distortions, policies
from edge_se.data.draws import Draws
from edge_se.data.preprocessing import CIFAR10, Preprocessing
from edge_se.data.training_pixels import TrainingPixels


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Images (n, 3, r, r) and their indices: a `share` of `sources` (n,), the rest of `partners` (n,)."""

    images: torch.Tensor
    sources: torch.Tensor
    partners: torch.Tensor | None = None  # None: no mixup
    share: float = 1.0


class Augmenter:
    """Turns indices into normalised, augmented batches on the device of `pixels`, for a net of preprocessing `how`.

    Every draw comes from the generator that the caller seeds, so a batch depends on (seed, epoch, step) alone
    and a resumed run sees exactly what the uninterrupted one would have seen. Draws are made for the whole batch;
    `rows` picks what one of several processes computes; together they see what a single process would see.
    """

    def __init__(self, pixels: TrainingPixels, recipe: Augmentation, seed: int, how: Preprocessing = CIFAR10) -> None:
        self._pixels, self._recipe = pixels, recipe
        device = pixels.device
        self._size = pixels.size
        side = torch.randint(0, 2, (len(pixels),), generator=torch.Generator().manual_seed(seed))
        self._first_side = side.to(device).bool()
        mean, std = torch.tensor(how.mean), torch.tensor(how.std)
        self._scale, self._shift = (1 / (255 * std)).to(device), (-mean / std).to(device)
        self._policy = policies.policy(recipe)

    def mixed(self, indices: torch.Tensor, epoch: int, resolution: int, generator: torch.Generator,
              rows: torch.Tensor | None = None) -> Batch:
        """`batch`, with mixup where the recipe asks for it: one share per batch, partners by a permutation."""
        own = indices if rows is None else indices[rows.to(indices.device)]
        if not self._recipe.mixup:
            return Batch(images=self.batch(indices, epoch, resolution, generator, rows), sources=own)
        order = torch.randperm(len(indices), generator=generator)
        numpy_seed = int(torch.randint(0, 2**62, (1,), generator=generator))
        share = float(np.random.default_rng(numpy_seed).beta(self._recipe.mixup, self._recipe.mixup))
        if rows is None:
            images = self.batch(indices, epoch, resolution, generator)
            others = images[order.to(images.device)]
        else:  # a partner may be another process's image: it is made here once more
            order = order[rows]
            images, others = self.batch(indices, epoch, resolution, generator, torch.cat([rows, order])).chunk(2)
        images = torch.lerp(others, images, share).contiguous(memory_format=torch.channels_last)
        return Batch(images=images, sources=own, partners=indices[order.to(indices.device)], share=share)

    def batch(self, indices: torch.Tensor, epoch: int, resolution: int, generator: torch.Generator,
              rows: torch.Tensor | None = None) -> torch.Tensor:
        """Normalised float32 (n, 3, resolution, resolution), channels_last, for `indices` (n,) of the data."""
        draws = Draws(len(indices), generator, rows, self._pixels.device)
        if rows is not None:
            indices = indices[rows.to(indices.device)]
        images = self._moved(indices, epoch, draws)
        if self._distorts:
            images = self._distorted(images.permute(0, 3, 1, 2).float(), draws).permute(0, 2, 3, 1)
        images = (images.float() * self._scale + self._shift).permute(0, 3, 1, 2)
        if self._recipe.cutout:
            images = images * self._holes(draws)
        if self._recipe.erasing:
            images = images * distortions.unerased(draws, self._recipe.erasing, self._size)
        return resize(images, resolution)

    def _moved(self, indices: torch.Tensor, epoch: int, draws: Draws) -> torch.Tensor:
        """Translated and flipped uint8 (n, H, W, 3)."""
        offsets = draws.integers(-self._recipe.translate, self._recipe.translate + 1, 2)[:, :, None]
        steps = torch.arange(self._size, device=self._pixels.device)
        columns = torch.where(self._flipped(indices, epoch, draws)[:, None], steps.flip(0), steps)
        rows, columns = steps + offsets[0], columns + offsets[1]
        own = torch.arange(len(indices), device=self._pixels.device)[:, None, None]
        images = self._pixels.of(indices)[own, self._inside(rows)[:, :, None], self._inside(columns)[:, None, :]]
        if self._recipe.padding == "reflect" or not self._recipe.translate:
            return images
        real = (rows == self._inside(rows))[:, :, None] & (columns == self._inside(columns))[:, None, :]
        return images * real[..., None]

    def _flipped(self, indices: torch.Tensor, epoch: int, draws: Draws) -> torch.Tensor:
        if self._recipe.flip == "alternating":
            return self._first_side[indices] ^ bool(epoch % 2)
        if self._recipe.flip == "random":
            return draws.integers(0, 2).bool()
        return torch.zeros_like(indices, dtype=torch.bool)

    def _inside(self, positions: torch.Tensor) -> torch.Tensor:
        """Positions beyond an edge, reflected at it, and at the other one where they go so far."""
        last = self._size - 1
        return last - (last - positions.abs() % (2 * last)).abs()

    @property
    def _distorts(self) -> bool:
        recipe = self._recipe
        return bool(self._policy or recipe.rotation or recipe.color_jitter or recipe.hue or recipe.sharpness
                    or recipe.blur)

    def _distorted(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """Rotation, policy and colours on float values 0..255, (n, 3, H, W)."""
        recipe = self._recipe
        if recipe.rotation:
            images = distortions.rotated(images, draws.uniform(-recipe.rotation, recipe.rotation))
        if self._policy:
            images = self._policy(images.round().to(torch.uint8), draws).float()
        if recipe.color_jitter:
            low, high = 1 - recipe.color_jitter, 1 + recipe.color_jitter
            images = distortions.jittered(images, *(draws.uniform(low, high) for _ in range(3)))
        if recipe.hue:
            images = distortions.hue_turned(images, draws.uniform(-recipe.hue, recipe.hue))
        if recipe.sharpness:
            images = distortions.sharpened(images, draws.uniform(1 - recipe.sharpness, 1 + recipe.sharpness))
        if recipe.blur:
            chosen = draws.uniform(0, 1) < recipe.blur
            images = distortions.blurred(images, draws.uniform(*distortions.BLUR_SIGMA), chosen)
        return images

    def _holes(self, draws: Draws) -> torch.Tensor:
        """(n, 1, H, W) of ones with a zero square that may hang over (DeVries & Taylor, arXiv 1708.04552)."""
        centres = draws.integers(0, self._size, 2)[:, :, None]
        steps = torch.arange(self._size, device=self._pixels.device) + self._recipe.cutout // 2 - centres
        inside = (steps >= 0) & (steps < self._recipe.cutout)
        return (~(inside[0][:, :, None] & inside[1][:, None, :])).unsqueeze(1)


def resize(images: torch.Tensor, resolution: int) -> torch.Tensor:
    """(N, C, H, W) to (N, C, resolution, resolution), bilinear, antialiased when it shrinks; channels_last."""
    if images.shape[-1] != resolution:
        images = F.interpolate(images, size=(resolution, resolution), mode="bilinear",
                               antialias=resolution < images.shape[-1])
    return images.contiguous(memory_format=torch.channels_last)
