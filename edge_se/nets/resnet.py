"""Post-activation residual networks (He et al., arXiv 1512.03385), with torchvision's parameter names."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from edge_se.nets.attention import ATTENTION
from edge_se.nets.zoo import ModelSpec


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution, padding 1, no bias."""
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)


class BasicBlock(nn.Module):
    """relu(SE(F(x)) + S(x)), F = BN conv3 relu BN conv3; S is a projection when stride or width changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, spec: ModelSpec) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv3(inputs, outputs, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv3(outputs, outputs), nn.BatchNorm2d(outputs)
        self.se = ATTENTION[spec.attention](outputs, spec.reduction, spec.attention_bias)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.se(self.bn2(self.conv2(out)))
        return torch.relu(out + self.downsample(x))


def _imagenet7(width: int) -> tuple[nn.Conv2d, nn.Module]:
    return nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.MaxPool2d(3, 2, 1)


def _paper3s2(width: int) -> tuple[nn.Conv2d, nn.Module]:
    return conv3(3, width, 2), nn.MaxPool2d(3, 2, 1)


def _cifar3(width: int) -> tuple[nn.Conv2d, nn.Module]:
    return conv3(3, width), nn.Identity()


STEMS: dict[str, Callable[[int], tuple[nn.Conv2d, nn.Module]]] = {
    "imagenet7": _imagenet7, "paper3s2": _paper3s2, "cifar3": _cifar3}


class ResNet(nn.Module):
    """The net that a ModelSpec describes: stem, stages of basic blocks, global average pool, classifier."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        width = spec.widths[0]
        self.conv1, self.maxpool = STEMS[spec.stem](width)
        self.bn1 = nn.BatchNorm2d(width)
        for number, (count, outputs) in enumerate(zip(spec.blocks, spec.widths), start=1):
            strides = [1 if number == 1 else 2] + [1] * (count - 1)
            blocks = []
            for stride in strides:
                blocks.append(BasicBlock(width, outputs, stride, spec))
                width = outputs
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.fc = nn.Linear(width, spec.classes)
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and ".se." not in name:  # SE maps keep PyTorch's default
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised images (N, 3, H, W) -> logits (N, classes)."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for number in range(1, len(self.spec.blocks) + 1):
            x = getattr(self, f"layer{number}")(x)
        logits: torch.Tensor = self.fc(x.mean((2, 3)))
        return logits
