"""Calibration images without data: noise, optimised until a trained net's batch norms see their training statistics.

ZeroQ (Cai et al., arXiv 2001.00281) for the batch-norm loss, DeepInversion (Yin et al., arXiv 1912.08795) for class
labels and the smoothness prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from edge_se.core.errors import CalibrationError
from edge_se.core.progress import Advance
from edge_se.data.preprocessing import Preprocessing


@dataclass(frozen=True, kw_only=True)
class SynthesisPlan:
    """`label_weight` and `smoothness` are relative to the mean batch-norm loss."""

    images: int = 256
    steps: int = 300
    seed: int = 0
    learning_rate: float = 0.05
    label_weight: float = 0.1
    smoothness: float = 0.02


def synthesize(net: nn.Module, plan: SynthesisPlan, how: Preprocessing, *, classes: int,
               advance: Advance) -> NDArray[np.uint8]:
    """uint8 (images, 3, height, width) whose batch-norm statistics, seen as `how` says, match those that `net` carries.

    Raises CalibrationError for a net without batch norm.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in net.modules()):
        raise CalibrationError("has no batch norm to match", where="data synthesize",
                               fix="calibrate this model with real images")
    generator = torch.Generator().manual_seed(plan.seed)
    net = net.eval().to(memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload]
    images = torch.randn(plan.images, 3, *how.size, generator=generator).contiguous(memory_format=torch.channels_last)
    images.requires_grad_(True)
    labels = torch.arange(plan.images) % classes
    optimizer = torch.optim.Adam([images], lr=plan.learning_rate, betas=(0.5, 0.9))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, plan.steps)
    low, high = _pixel_limits(how)
    with _BatchNormLoss(net) as matching:
        for _ in range(plan.steps):
            optimizer.zero_grad()
            logits = net(_jittered(images, generator))
            loss = matching.loss() + plan.label_weight * F.cross_entropy(logits, labels)
            loss = loss + plan.smoothness * _total_variation(images)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                images.copy_(images.clamp(low, high))
            advance(1)
    return _to_pixels(images.detach(), how)


class _BatchNormLoss:
    """Mean over batch norms of the squared distance of mean and standard deviation, in units of the latter."""

    def __init__(self, net: nn.Module) -> None:
        self._losses: list[torch.Tensor] = []
        self._hooks = [module.register_forward_pre_hook(self._seen) for module in net.modules()
                       if isinstance(module, nn.BatchNorm2d)]

    def __enter__(self) -> _BatchNormLoss:
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def loss(self) -> torch.Tensor:
        """The loss of the forward pass since the last call."""
        mean = torch.stack(self._losses).mean()
        self._losses = []
        return mean

    def _seen(self, module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        assert isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        spread = (module.running_var + module.eps).sqrt()
        shift = (mean - module.running_mean) / spread
        stretch = (variance + module.eps).sqrt() / spread - 1
        self._losses.append(shift.square().mean() + stretch.square().mean())


def _jittered(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Rolled by up to 2 pixels and flipped at random, so that no net-specific grid pattern grows."""
    down, right, flip = torch.randint(0, 5, (3,), generator=generator).tolist()
    rolled = torch.roll(images, (down - 2, right - 2), (2, 3))
    return rolled.flip(3) if flip % 2 else rolled


def _total_variation(images: torch.Tensor) -> torch.Tensor:
    return (images.diff(dim=2).square().mean() + images.diff(dim=3).square().mean())


def _pixel_limits(how: Preprocessing) -> tuple[torch.Tensor, torch.Tensor]:
    """The inputs of a net for black and white, (1, 3, 1, 1) each."""
    mean, std, (black, white) = *_normalisation(how), how.extremes
    return (black - mean) / std, (white - mean) / std


def _to_pixels(images: torch.Tensor, how: Preprocessing) -> NDArray[np.uint8]:
    """The pixels that `how` turns into `images`."""
    mean, std, (black, white) = *_normalisation(how), how.extremes
    values = (images * std + mean - black) / (white - black)
    pixels = (values * 255).round().clamp(0, 255).to(torch.uint8)
    return pixels.contiguous(memory_format=torch.contiguous_format).numpy()


def _normalisation(how: Preprocessing) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(how.mean).view(1, 3, 1, 1), torch.tensor(how.std).view(1, 3, 1, 1)
