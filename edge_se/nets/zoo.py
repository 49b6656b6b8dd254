"""Every network by name: one explicit table, importable without torch.

A name is FAMILY_VARIANT_STEM: `se_resnet18`, `se_resnet18_pre`, `cmpe_resnet18_folded_imagenet7`. Without a stem it is
`cifar3`. To add a network, add a line; to add an SE variant, add a class, a line in `attention.py` and name it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_se.core.errors import ModelError, UnavailableError, did_you_mean
from edge_se.nets.spec import Attention, Block, ModelSpec, Stem

if TYPE_CHECKING:
    from torch import nn

_STEMS: tuple[tuple[Stem, str, str], ...] = (
    ("cifar3", "", "3x3 stride-1 stem"),
    ("imagenet7", "_imagenet7", "7x7 stride-2 stem, max pool"),
    ("paper3s2", "_paper3s2", "3x3 stride-2 stem, max pool"),
)
_RESNET18: tuple[tuple[str, Attention], ...] = (
    ("resnet18", "none"),
    ("se_resnet18", "se"),
    ("se_resnet18_pre", "pre"),
    ("se_resnet18_post", "post"),
    ("se_resnet18_identity", "identity"),
    ("cmpe_resnet18_double_fc", "double_fc"),
    ("cmpe_resnet18_pair2x1", "pair2x1"),
    ("cmpe_resnet18_pair1x1", "pair1x1"),
    ("cmpe_resnet18_folded", "folded"),
)
_PREACT: tuple[tuple[str, Attention], ...] = (  # the placements of SE are defined for post-activation units only
    ("resnet18_preact", "none"),
    ("se_resnet18_preact", "se"),
    ("cmpe_resnet18_double_fc_preact", "double_fc"),
    ("cmpe_resnet18_pair2x1_preact", "pair2x1"),
    ("cmpe_resnet18_pair1x1_preact", "pair1x1"),
    ("cmpe_resnet18_folded_preact", "folded"),
)
_SLIM: tuple[tuple[str, Attention], ...] = (
    ("slim", "none"),
    ("slim_se", "se"),
    ("slim_double_fc", "double_fc"),
    ("slim_pair2x1", "pair2x1"),
    ("slim_pair1x1", "pair1x1"),
    ("slim_folded", "folded"),
)
_MINI: tuple[tuple[str, Attention], ...] = (  # without `folded`, which needs 32 channels
    ("mini", "none"),
    ("mini_se", "se"),
    ("mini_pre", "pre"),
    ("mini_post", "post"),
    ("mini_identity", "identity"),
    ("mini_double_fc", "double_fc"),
    ("mini_pair2x1", "pair2x1"),
    ("mini_pair1x1", "pair1x1"),
)
_RESNET50: tuple[tuple[str, Attention, Block, str], ...] = (
    ("resnet50", "none", "bottleneck", "v1.5, stride on the 3x3"),
    ("se_resnet50", "se", "bottleneck", "v1.5, stride on the 3x3"),
    ("resnet50_v1", "none", "bottleneck_v1", "v1, stride on the first 1x1"),
    ("se_resnet50_v1", "se", "bottleneck_v1", "v1, stride on the first 1x1"),
)
# SE: Hu et al., arXiv 1709.01507, its placements section 6.5; competitive SE: arXiv 1807.08920.
_ABOUT: dict[Attention, str] = {
    "none": "",
    "se": ", SE on the branch",
    "pre": ", SE on the branch's input",
    "post": ", SE on the sum",
    "identity": ", SE on the shortcut",
    "double_fc": ", competitive SE, two squeezes",
    "pair2x1": ", competitive SE, 2x1 pairs",
    "pair1x1": ", competitive SE, 1x1 pairs",
    "folded": ", competitive SE, folded view",
}

MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        *(ModelSpec(name=name + suffix, stem=stem, attention=attention, about=f"ResNet-18, {kind}{_ABOUT[attention]}")
          for stem, suffix, kind in _STEMS for name, attention in _RESNET18),
        *(ModelSpec(name=name, attention=attention, preact=True, about=f"pre-activation ResNet-18{_ABOUT[attention]}")
          for name, attention in _PREACT),
        # Bhatt, Mai and Garg, ResNet-18 with Squeeze-and-Excitation and Data Augmentation (2025).
        *(ModelSpec(name=name, attention=attention, blocks=(3, 3, 4, 3), widths=(32, 64, 128, 256), dropout=0.5,
                    init="fan_in", about=f"slim ResNet of 4.7 M parameters{_ABOUT[attention]}")
          for name, attention in _SLIM),
        *(ModelSpec(name=name, attention=attention, widths=(16, 32, 64, 128),
                    about=f"ResNet-18 of a quarter of the width{_ABOUT[attention]}") for name, attention in _MINI),
        ModelSpec(name="resnet20", blocks=(3, 3, 3), widths=(16, 32, 64), about="ResNet-20, projected shortcuts"),
        ModelSpec(name="se_resnet20", blocks=(3, 3, 3), widths=(16, 32, 64), attention="se",
                  about=f"ResNet-20, projected shortcuts{_ABOUT['se']}"),
        *(ModelSpec(name=name, stem="imagenet7", block=block, blocks=(3, 4, 6, 3), attention=attention, classes=1000,
                    input_size=224, about=f"ResNet-50 {kind}{_ABOUT[attention]}")
          for name, attention, block, kind in _RESNET50),
    )
}
BUNDLED = ("resnet18", "se_resnet18", "slim_se", "mini_se", "se_resnet20")  # the nets whose weights are shipped


def spec_of(name: str) -> ModelSpec:
    """The spec of a known net; ModelError with a suggestion otherwise."""
    try:
        return MODELS[name]
    except KeyError:
        raise ModelError(f"unknown model '{name}'", fix=did_you_mean(
            name, MODELS, listing="`edge-se models list`")) from None


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
