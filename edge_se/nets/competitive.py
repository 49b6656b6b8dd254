"""Competitive squeeze-and-excitation (CMPE-SE, arXiv 1807.08920): the excitation of F(x) sees the shortcut S(x) too.

y = F(x) * w(GAP(F(x)), GAP(S(x))) + S(x): only the residual is scaled. The equations are those of the authors' code
(scut-aitcm/Competitive-Inner-Imaging-SENet); linear maps are 1x1 convolutions, as in `attention.SqueezeExcitation`.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from edge_se.core.errors import ModelError

CHANNELS_PER_MAP = 16  # the authors' `cmpe_se_ratio`: C / 16 maps, whatever the reduction
FOLD = 16              # the authors' `reimage_k`: channels in a row of the folded view


def _squeezed(u: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) -> (N, C, 1, 1)."""
    return u.mean((2, 3), keepdim=True)


class DoubleFc(nn.Module):
    """w = sigmoid(W3 [relu(W1 z_u); relu(W2 z_s)]), W1 and W2: C -> C / r, W3: 2 C / r -> C."""

    def __init__(self, channels: int, reduction: int = 16, bias: bool = False) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=bias)
        self.fc2 = nn.Conv2d(channels, hidden, 1, bias=bias)
        self.fc3 = nn.Conv2d(2 * hidden, channels, 1, bias=bias)

    def excitation(self, u: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        """Residual and shortcut, both (N, C, H, W) -> (N, C, 1, 1) in (0, 1)."""
        inner = torch.cat((torch.relu(self.fc1(_squeezed(u))), torch.relu(self.fc2(_squeezed(s)))), 1)
        return torch.sigmoid(self.fc3(inner))

    def forward(self, u: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        """Residual and shortcut, both (N, C, H, W) -> the scaled residual."""
        return u * self.excitation(u, s)


class ReimageConv(nn.Module):
    """mean over the maps of BN(conv(I)): (N, 1, h, w) -> (N, 1, h', w'), without padding or activation.

    It stays affine, so for inference `kernel` is all of it.
    """

    def __init__(self, maps: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, maps, size, bias=False)
        self.bn = nn.BatchNorm2d(maps)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The mean map."""
        maps: torch.Tensor = self.bn(self.conv(image))
        return maps.mean(1, keepdim=True)

    def kernel(self) -> nn.Conv2d:
        """The one kernel and bias that convolution, batch norm in evaluation mode and mean amount to."""
        mean, variance, weight = self.bn.running_mean, self.bn.running_var, self.conv.weight
        assert mean is not None and variance is not None  # batch norms here track their statistics
        with torch.no_grad():
            scale = self.bn.weight.double() / (variance.double() + self.bn.eps).sqrt()
            one = nn.Conv2d(1, 1, (weight.shape[2], weight.shape[3])).to(weight)
            one.weight.copy_((scale[:, None, None, None] * weight.double()).mean(0, keepdim=True))
            assert one.bias is not None
            one.bias.copy_((self.bn.bias.double() - scale * mean.double()).mean().reshape(1))
        return one


class ReimagedExcitation(nn.Module):
    """w = sigmoid(W2 relu(W1 flatten(view(I)))), I made of z_u and z_s; the three views are its subclasses."""

    def __init__(self, channels: int, reduction: int, bias: bool, kernel: tuple[int, int],
                 image: tuple[int, int]) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.image_shape = image
        self.flat = (image[0] - kernel[0] + 1) * (image[1] - kernel[1] + 1)
        self.view: nn.Module = ReimageConv(max(1, channels // CHANNELS_PER_MAP), kernel)
        self.fc1 = nn.Conv2d(self.flat, hidden, 1, bias=bias)
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=bias)

    def image(self, u: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        """(N, 1, C, 2): column 0 squeezes the residual, column 1 the shortcut."""
        return torch.cat((_squeezed(u), _squeezed(s)), 3).reshape(-1, 1, *self.image_shape)

    def excitation(self, u: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        """Residual and shortcut, both (N, C, H, W) -> (N, C, 1, 1) in (0, 1)."""
        flat = self.view(self.image(u, s)).reshape(-1, self.flat, 1, 1)
        return torch.sigmoid(self.fc2(torch.relu(self.fc1(flat))))

    def forward(self, u: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        """Residual and shortcut, both (N, C, H, W) -> the scaled residual."""
        return u * self.excitation(u, s)


class PairView2x1(ReimagedExcitation):
    """The kernel spans the pair (z_u, z_s) of a channel: C values remain."""

    def __init__(self, channels: int, reduction: int = 16, bias: bool = False) -> None:
        super().__init__(channels, reduction, bias, kernel=(1, 2), image=(channels, 2))


class PairView1x1(ReimagedExcitation):
    """The kernel spans one value: 2 C remain, and W1 alone mixes the pair."""

    def __init__(self, channels: int, reduction: int = 16, bias: bool = False) -> None:
        super().__init__(channels, reduction, bias, kernel=(1, 1), image=(channels, 2))


class FoldedView(ReimagedExcitation):
    """A 3x3 kernel over an image of C / 8 rows of 16 channels, residual and shortcut by turns.

    ModelError unless 16 divides C and C is 32 at least: three rows are the least that the kernel spans.
    """

    def __init__(self, channels: int, reduction: int = 16, bias: bool = False) -> None:
        if channels % FOLD or channels < 2 * FOLD:
            raise ModelError(f"the folded view of {channels} channels does not exist", where="attention 'folded'",
                             fix=f"take widths from {2 * FOLD} on that {FOLD} divides, or a pair view")
        super().__init__(channels, reduction, bias, kernel=(3, 3), image=(2 * channels // FOLD, FOLD))

    def image(self, u: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        """(N, 1, C / 8, 16)."""
        pairs = torch.cat((_squeezed(u), _squeezed(s)), 3).reshape(-1, self.image_shape[0] // 2, FOLD, 2)
        return pairs.transpose(2, 3).reshape(-1, 1, *self.image_shape)


def with_folded_views(net: nn.Module) -> nn.Module:
    """`net` in evaluation mode with the one affine kernel in place of each re-image convolution.

    A copy where there is one; `net` itself otherwise.
    """
    net = net.eval()
    if not any(isinstance(module, ReimageConv) for module in net.modules()):
        return net
    net = copy.deepcopy(net)
    for module in net.modules():
        if isinstance(module, ReimagedExcitation) and isinstance(module.view, ReimageConv):
            module.view = module.view.kernel()
    return net
