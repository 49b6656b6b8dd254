"""`torchvision:NAME[.TAG]`, with the transforms and categories of its weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_se.core.errors import UnavailableError
from edge_se.core.files import sha256_of
from edge_se.data.preprocessing import Preprocessing, assumed
from edge_se.graph.libraries.base import Entry, Library, Size, unknown_name

if TYPE_CHECKING:
    from torch import nn

DEFAULT_SIZE = (224, 224)
_HASH = re.compile(r"-([0-9a-f]{8})\.")  # of the file's content, in its name


def _find(told: str, weights: Path | None) -> Entry:
    try:
        from edge_se.data.torchvision_import import torchvision
    except ModuleNotFoundError as error:
        raise UnavailableError("torchvision's models need torch and torchvision", where=LIBRARY.prefix + told,
                               fix="pip install 'edge-se[torch]'") from error
    models = torchvision.models
    known = models.list_models(module=models)
    name, _, tag = told.partition(".")
    if name not in known:
        raise unknown_name("torchvision", name, known, "take a name of torchvision.models.list_models()")
    members = list(models.get_model_weights(name))
    default = models.get_model_weights(name).DEFAULT if members else None
    if tag and tag not in [member.name for member in members]:
        raise unknown_name("torchvision", told, [f"{name}.{member.name}" for member in members],
                           f"its weights are {', '.join(member.name for member in members)}")
    chosen = next((member for member in members if member.name == tag), default)
    exact = False
    if weights is not None and weights.is_file() and not tag:
        same = [member for member in members if _is_file_of(member, weights)]
        chosen, exact = (same[0], True) if same else (chosen, False)

    def create(classes: int, size: Size) -> nn.Module:
        # Only transformers fix their size; others have no such parameter.
        sized = {"image_size": size[0]} if name.startswith("vit_") else {}
        extra = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        net: nn.Module = models.get_model(name, weights=None, num_classes=classes, **sized, **extra)
        return net

    def download(size: Size) -> nn.Module:
        net: nn.Module = models.get_model(name, weights=chosen)
        return net

    return Entry(name=name, tag=chosen.name if chosen else "", own=_preprocessing(chosen), unlike=None,
                 exact=exact, create=create, download=download)


def _preprocessing(weights: Any) -> Preprocessing:
    """What the transforms of `weights` do, with their categories; the usual one for None."""
    if weights is None:
        return assumed(DEFAULT_SIZE)
    how = weights.transforms()
    crop, resize = how.crop_size[0], how.resize_size[0]
    return Preprocessing(size=(crop, crop), mean=tuple(how.mean), std=tuple(how.std), share=min(1.0, crop / resize),
                         interpolation=how.interpolation.value, antialias=bool(how.antialias),
                         labels=tuple(weights.meta["categories"]))


def _is_file_of(weights: Any, path: Path) -> bool:
    """Whether the file is what torchvision downloads for `weights`: their URL has the start of its SHA-256."""
    found = _HASH.search(weights.url.rpartition("/")[2])
    return found is not None and sha256_of(path).startswith(found[1])


LIBRARY = Library(name="torchvision", find=_find)
