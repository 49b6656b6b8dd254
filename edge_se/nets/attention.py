"""Channel attention and its place in a residual unit: one table of variants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from edge_se.nets.competitive import DoubleFc, FoldedView, PairView1x1, PairView2x1

Place = Literal["branch", "input", "output", "shortcut", "both"]


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

    def excitation(self, u: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, 1, 1) in (0, 1)."""
        return torch.sigmoid(self.fc2(torch.relu(self.fc1(u.mean((2, 3), keepdim=True)))))

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> the same shape."""
        return u * self.excitation(u)


def _none(channels: int, reduction: int, bias: bool) -> nn.Module:
    return nn.Identity()


@dataclass(frozen=True, kw_only=True)
class Variant:
    """(channels, reduction, bias) -> a module, and what it is applied to in the unit relu(F(x) + S(x)).

    `branch`: F(x); `input`: the x that F reads, while S reads it as it is; `output`: the whole unit's; `shortcut`:
    S(x) after its projection; `both`: called with F(x) and S(x), it scales F(x). The four of SE: SENet, section 6.5.
    """

    make: Callable[[int, int, bool], nn.Module]
    place: Place


ATTENTION: dict[str, Variant] = {
    "none": Variant(make=_none, place="branch"),
    "se": Variant(make=SqueezeExcitation, place="branch"),
    "pre": Variant(make=SqueezeExcitation, place="input"),
    "post": Variant(make=SqueezeExcitation, place="output"),
    "identity": Variant(make=SqueezeExcitation, place="shortcut"),
    "double_fc": Variant(make=DoubleFc, place="both"),
    "pair2x1": Variant(make=PairView2x1, place="both"),
    "pair1x1": Variant(make=PairView1x1, place="both"),
    "folded": Variant(make=FoldedView, place="both"),
}
