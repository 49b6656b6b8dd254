"""What a net is, apart from its weights; importable without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Stem = Literal["imagenet7", "paper3s2", "cifar3"]
Block = Literal["basic", "bottleneck", "bottleneck_v1"]
Attention = Literal["none", "se", "pre", "post", "identity", "double_fc", "pair2x1", "pair1x1", "folded"]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What a net is, apart from its weights."""

    name: str
    stem: Stem = "cifar3"
    block: Block = "basic"             # `bottleneck` strides on its 3x3 (v1.5), `bottleneck_v1` on its first 1x1
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    widths: tuple[int, ...] = (64, 128, 256, 512)  # of the convolutions; a bottleneck's output is 4 times as wide
    attention: Attention = "none"
    reduction: int = 16
    attention_bias: bool = False
    preact: bool = False               # batch norm and ReLU before each convolution, none after the sum
    dropout: float = 0.0               # before the classifier
    init: Literal["fan_out", "fan_in"] = "fan_out"  # of convolutions: Kaiming normal
    classes: int = 10
    input_size: int = 32
    about: str = ""


class StemShape(NamedTuple):
    """The first convolution's kernel, stride and padding in pixels; whether a max pool (3, stride 2) follows."""

    kernel: int
    stride: int
    padding: int
    pooled: bool


STEMS: dict[Stem, StemShape] = {
    "imagenet7": StemShape(7, 2, 3, True), "paper3s2": StemShape(3, 2, 1, True), "cifar3": StemShape(3, 1, 1, False)}
