"""`timm:NAME[.TAG]`, with the data config of its weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_se.core.errors import ModelError, UnavailableError
from edge_se.data.preprocessing import Preprocessing
from edge_se.graph.libraries.base import Entry, Library, Size, unknown_name

if TYPE_CHECKING:
    from torch import nn

USUAL = {"input_size": (3, 224, 224)}
INTERPOLATIONS = ("bilinear", "bicubic")


def _timm(source: str) -> Any:
    try:
        from edge_se.data.torchvision_import import torchvision  # noqa: F401  (before timm, which imports it)

        import timm  # isort: skip
    except ModuleNotFoundError as error:
        raise UnavailableError("timm's models need timm and torch", where=source,
                               fix="pip install 'edge-se[timm]'") from error
    return timm


def _find(told: str, weights: Path | None) -> Entry:
    timm = _timm(LIBRARY.prefix + told)
    name, _, tag = told.partition(".")
    if not timm.is_model(name):
        raise unknown_name("timm", name, timm.list_models(), "take a name of timm.list_models()")
    with_weights = timm.list_models(f"{name}.*", pretrained=True)
    if tag and told not in with_weights:
        tags = ", ".join(known.partition(".")[2] for known in with_weights)
        raise unknown_name("timm", told, with_weights, f"its weights are {tags}" if tags else "leave the tag out")
    config = timm.get_pretrained_cfg(told)  # also nets without weights have one
    tag = (tag or config.tag or "") if with_weights else ""
    own, unlike = _preprocessing(timm, config.to_dict() if config else USUAL, LIBRARY.prefix + told)

    def create(classes: int, size: Size) -> nn.Module:
        return _created(timm, name, size, own.size, num_classes=classes)

    def download(size: Size) -> nn.Module:
        return _created(timm, f"{name}.{tag}", size, own.size, pretrained=True)

    return Entry(name=name, tag=tag, own=own, unlike=unlike, exact=False, create=create, download=download,
                 fused=timm.models.reparameterize_model)  # RepVGG, MobileOne, LeViT and their kin


def _created(timm: Any, name: str, size: Size, usual: Size, **options: Any) -> nn.Module:
    """The net; transformers, which fix their size, get it where it is not their usual one."""
    net: nn.Module
    if size != usual:
        try:
            net = timm.create_model(name, exportable=True, img_size=size, **options)
            return net
        except TypeError as error:
            if "img_size" not in str(error):
                raise
    net = timm.create_model(name, exportable=True, **options)
    return net


def _preprocessing(timm: Any, config: dict[str, Any], source: str) -> tuple[Preprocessing, str | None]:
    """What timm's evaluation does to an image, with the names of classes, and in words what of it is done otherwise."""
    data = timm.data.resolve_data_config(pretrained_cfg=config)
    channels, height, width = data["input_size"]
    if channels != 3:
        raise ModelError(f"takes images of {channels} channels", where=source, fix="name a net for RGB images")
    mode, interpolation = data["crop_mode"], data["interpolation"]
    share = height / math.floor(height / data["crop_pct"])  # timm resizes to whole pixels
    squashed = mode == "squash" and share == 1
    unlike = [f"crop_mode {mode}"] if mode != "center" and not squashed else []
    unlike += [f"crop_pct {data['crop_pct']:g}"] if share > 1 else []
    unlike += [f"interpolation {interpolation}"] if interpolation not in INTERPOLATIONS else []
    own = Preprocessing(size=(height, width), mean=tuple(data["mean"]), std=tuple(data["std"]), share=min(share, 1.0),
                        resize="squash" if squashed else "crop", labels=_labels(timm, config),
                        interpolation=interpolation if interpolation in INTERPOLATIONS else "bicubic")
    return own, f"timm says {', '.join(unlike)} of its images; edge-se crops the middle of them" if unlike else None


def _labels(timm: Any, config: dict[str, Any]) -> tuple[str, ...]:
    """The names of ImageNet's folders, where the weights are ImageNet's; empty where timm does not say."""
    subset = timm.data.infer_imagenet_subset(config)
    return tuple(timm.data.ImageNetInfo(subset).label_names()) if subset else ()


LIBRARY = Library(name="timm", find=_find)
