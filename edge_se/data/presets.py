"""What `--preprocessing` names: how well-known families of models see an image, or a TOML file that says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from edge_se.core.errors import ModelError, did_you_mean
from edge_se.core.toml_files import Table, read_toml
from edge_se.data.cifar10 import MEAN, STD

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CAFFE_MEAN = (103.939, 116.779, 123.68)  # B, G, R, of pixels from 0 to 255
ZEROS, ONES = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

# Size, axes and type are what the graph tells. A share of 0 is what is usual for the size.
PRESETS: dict[str, dict[str, Any]] = {
    "imagenet": {"mean": IMAGENET_MEAN, "std": IMAGENET_STD},
    "imagenet-bicubic": {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "interpolation": "bicubic"},
    "cifar10": {"mean": MEAN, "std": STD},
    "tf": {"mean": ZEROS, "std": ONES, "range": "-1-1"},
    "openai": {"mean": CLIP_MEAN, "std": CLIP_STD, "interpolation": "bicubic", "share": 1.0},
    "caffe": {"mean": CAFFE_MEAN, "std": ONES, "range": "0-255", "colour": "BGR"},
}
_USUAL: dict[str, Any] = {"range": "0-1", "colour": "RGB", "resize": "crop", "share": 0.0, "interpolation": "bilinear",
                          "antialias": True}


class _File(Table):
    """The keys of such a file, each optional: those of `Preprocessing`, with `crop_share` for `share`."""

    preset: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    range: Literal["0-1", "0-255", "-1-1"] | None = None
    colour: Literal["RGB", "BGR", "grey"] | None = None
    resize: Literal["crop", "squash", "letterbox"] | None = None
    crop_share: float | None = None
    interpolation: Literal["bilinear", "bicubic"] | None = None
    antialias: bool | None = None
    axes: Literal["NCHW", "NHWC"] | None = None


def preset(told: str) -> dict[str, Any]:
    """Fields of `Preprocessing` for a name of PRESETS or a .toml file; ModelError for anything else.

    A name tells all of them but size, axes and dtype; a file those that it names, over its `preset` if it names one.
    """
    if told in PRESETS:
        return _USUAL | PRESETS[told]
    path = Path(told)
    if path.suffix != ".toml":
        raise ModelError(f"unknown preprocessing '{told}'", where="--preprocessing",
                         fix=did_you_mean(told, PRESETS, otherwise="give a .toml file"))
    try:
        content = read_toml(_File, path, ModelError)
    except FileNotFoundError as error:
        raise ModelError("no such file", where=f"--preprocessing {told}",
                         fix=f"give a .toml file, or one of {', '.join(PRESETS)}") from error
    fields = content.model_dump(exclude_none=True)
    base = fields.pop("preset", None)
    if base is not None and base not in PRESETS:
        raise ModelError(f"unknown preset '{base}'", where=path, fix=did_you_mean(base, PRESETS))
    if "crop_share" in fields:
        fields["share"] = fields.pop("crop_share")
    return (_USUAL | PRESETS[base] if base else {}) | fields
