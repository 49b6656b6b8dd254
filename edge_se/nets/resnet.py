"""Residual networks (He et al., arXiv 1512.03385 and 1603.05027), with torchvision's parameter names."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from edge_se.core.errors import ModelError
from edge_se.nets.attention import ATTENTION
from edge_se.nets.spec import STEMS, ModelSpec, Stem


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution, padding 1, no bias."""
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)


def conv1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """1x1 convolution, no bias."""
    return nn.Conv2d(inputs, outputs, 1, stride, bias=False)


def _basic(inputs: int, width: int, stride: int) -> list[nn.Conv2d]:
    return [conv3(inputs, width, stride), conv3(width, width)]


def _bottleneck(inputs: int, width: int, stride: int) -> list[nn.Conv2d]:
    return [conv1(inputs, width), conv3(width, width, stride), conv1(width, 4 * width)]


def _bottleneck_v1(inputs: int, width: int, stride: int) -> list[nn.Conv2d]:
    return [conv1(inputs, width, stride), conv3(width, width), conv1(width, 4 * width)]


BRANCHES: dict[str, Callable[[int, int, int], list[nn.Conv2d]]] = {
    "basic": _basic, "bottleneck": _bottleneck, "bottleneck_v1": _bottleneck_v1}


class Unit(nn.Module):
    """relu(F(x) + S(x)): F = BN conv (relu BN conv)*; S is a projection when stride or width changes.

    Attention acts where its Variant says.
    """

    def __init__(self, inputs: int, width: int, stride: int, spec: ModelSpec) -> None:
        super().__init__()
        branch = BRANCHES[spec.block](inputs, width, stride)
        self.length, self.outputs = len(branch), branch[-1].out_channels
        for number, conv in enumerate(branch, start=1):
            self.add_module(f"conv{number}", conv)
            self.add_module(f"bn{number}", nn.BatchNorm2d(conv.in_channels if spec.preact else conv.out_channels))
        variant = ATTENTION[spec.attention]
        self.place = variant.place
        self.se = variant.make(inputs if self.place == "input" else self.outputs, spec.reduction, spec.attention_bias)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != self.outputs:
            projection = conv1(inputs, self.outputs, stride)
            self.downsample = projection if spec.preact else nn.Sequential(projection, nn.BatchNorm2d(self.outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        u = self.se(x) if self.place == "input" else x
        for number in range(1, self.length + 1):
            u = self._part("bn", number)(self._part("conv", number)(u))
            u = torch.relu(u) if number < self.length else u
        if self.place == "branch":
            u = self.se(u)
        s = self.downsample(x)
        if self.place == "shortcut":
            s = self.se(s)
        elif self.place == "both":
            u = self.se(u, s)
        y = torch.relu(u + s)
        return self.se(y) if self.place == "output" else y

    def _part(self, kind: str, number: int) -> nn.Module:
        module: nn.Module = getattr(self, f"{kind}{number}")
        return module


class PreactUnit(Unit):
    """F(h) + S: h = relu(BN(x)), F = conv (relu BN conv)*, S is x, or a projection of h without batch norm.

    So are the units of CMPE's authors. ModelError for attention on the input, the output or the shortcut: SENet
    defines those for post-activation units only.
    """

    def __init__(self, inputs: int, width: int, stride: int, spec: ModelSpec) -> None:
        super().__init__(inputs, width, stride, spec)
        if self.place not in ("branch", "both"):
            raise ModelError(f"attention '{spec.attention}' is not defined for pre-activation units", where=spec.name,
                             fix="take another attention, or preact=False")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        h = torch.relu(self._part("bn", 1)(x))
        s = x if isinstance(self.downsample, nn.Identity) else self.downsample(h)
        u = self._part("conv", 1)(h)
        for number in range(2, self.length + 1):
            u = self._part("conv", number)(torch.relu(self._part("bn", number)(u)))
        scaled: torch.Tensor = self.se(u, s) if self.place == "both" else self.se(u)
        return scaled + s


def _stem(stem: Stem, width: int) -> tuple[nn.Conv2d, nn.Module]:
    shape = STEMS[stem]
    convolution = nn.Conv2d(3, width, shape.kernel, shape.stride, shape.padding, bias=False)
    return convolution, nn.MaxPool2d(3, 2, 1) if shape.pooled else nn.Identity()


class ResNet(nn.Module):
    """The net that a ModelSpec describes: stem, stages of units, global average pool, dropout, classifier.

    With `preact` the one batch norm outside the units, and its ReLU, come after the last of them instead of after
    the stem's convolution.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        width = spec.widths[0]
        self.conv1, self.maxpool = _stem(spec.stem, width)
        if not spec.preact:
            self.bn1 = nn.BatchNorm2d(width)
        for number, (count, inner) in enumerate(zip(spec.blocks, spec.widths), start=1):
            strides = [1 if number == 1 else 2] + [1] * (count - 1)
            units: list[Unit] = []
            for stride in strides:
                units.append((PreactUnit if spec.preact else Unit)(width, inner, stride, spec))
                width = units[-1].outputs
            self.add_module(f"layer{number}", nn.Sequential(*units))
        if spec.preact:
            self.bn1 = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(spec.dropout) if spec.dropout else nn.Identity()
        self.fc = nn.Linear(width, spec.classes)
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and ".se.fc" not in name:  # linear maps keep PyTorch's default
                nn.init.kaiming_normal_(module.weight, mode=spec.init, nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised images (N, 3, H, W) -> logits (N, classes)."""
        x = self.conv1(x)
        x = self.maxpool(x if self.spec.preact else torch.relu(self.bn1(x)))
        for number in range(1, len(self.spec.blocks) + 1):
            x = getattr(self, f"layer{number}")(x)
        if self.spec.preact:
            x = torch.relu(self.bn1(x))
        logits: torch.Tensor = self.fc(self.dropout(x.mean((2, 3))))
        return logits
