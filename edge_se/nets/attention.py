"""Channel attention: what rescales the residual branch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


class SqueezeExcitation(nn.Module):
    """u * sigmoid(W2 relu(W1 GAP(u))), W1: C -> max(1, C // r), W2 back (Hu et al., arXiv 1709.01507, section 3).

    The two linear maps are 1x1 convolutions: the same parameters and MACs as `nn.Linear`, and a graph without
    reshapes, which every quantizer and TensorRT recognise. They keep PyTorch's default initialisation.
    """

    def __init__(self, channels: int, reduction: int = 16, bias: bool = False) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=bias)
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=bias)

    def gate(self, u: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, 1, 1) in (0, 1)."""
        return torch.sigmoid(self.fc2(torch.relu(self.fc1(u.mean((2, 3), keepdim=True)))))

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> the same shape."""
        return u * self.gate(u)


def _none(channels: int, reduction: int, bias: bool) -> nn.Module:
    return nn.Identity()


ATTENTION: dict[str, Callable[[int, int, bool], nn.Module]] = {"none": _none, "se": SqueezeExcitation}
