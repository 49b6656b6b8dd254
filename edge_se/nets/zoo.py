"""Every network by name: one explicit table, importable without torch.

To add a network, add a line; to add an SE variant, add a class in `attention.py` and name it here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edge_se.core.errors import ModelError, UnavailableError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

Stem = Literal["imagenet7", "paper3s2", "cifar3"]
Attention = Literal["none", "se"]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What a net is, apart from its weights."""

    name: str
    stem: Stem = "cifar3"
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    attention: Attention = "none"
    reduction: int = 16
    attention_bias: bool = False
    classes: int = 10
    input_size: int = 32
    about: str = ""


MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(name="resnet18", about="ResNet-18, 3x3 stride-1 stem for 32 px (He et al., arXiv 1512.03385)"),
        ModelSpec(name="se_resnet18", attention="se",
                  about="the same with squeeze-and-excitation, r=16 (Hu et al., arXiv 1709.01507)"),
    )
}


def spec_of(name: str) -> ModelSpec:
    """The spec of a known net; ModelError with a suggestion otherwise."""
    try:
        return MODELS[name]
    except KeyError:
        raise ModelError(f"unknown model '{name}'", fix=did_you_mean(name, MODELS)) from None


def build(spec: ModelSpec) -> nn.Module:
    """The untrained net in training mode; UnavailableError when torch is not installed."""
    try:
        from edge_se.nets.resnet import ResNet
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UnavailableError("building a net needs torch", where=spec.name,
                               fix="pip install 'edge-se[torch]'") from error
    return ResNet(spec)
