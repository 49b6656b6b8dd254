"""Options that say how a model sees an image, for every command that reads a model from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edge_se.cli.options import channel_values
from edge_se.core.errors import EdgeSeError

if TYPE_CHECKING:
    from edge_se.graph.source_options import SourceOptions

MIN_SIDE, MAX_SIDE = 8, 16384


def _option(text: str, *names: str) -> Any:
    return typer.Option(*names, help=text)


Preprocessing = Annotated[Optional[str], _option(
    "imagenet, imagenet-bicubic, cifar10, tf, openai, caffe, or a .toml file. Single options win over it. Default: "
    "cifar10 at 32 px, else imagenet.")]
Mean = Annotated[Optional[str], _option(
    "Of pixels in --range, one number a channel in the model's order, or one for all: 0.485,0.456,0.406.")]
Std = Annotated[Optional[str], _option("The same for the standard deviation.")]
Range = Annotated[Optional[str], _option("Of pixels before --mean and --std: 0-1, 0-255 or -1-1. Another one than the "
                                         "default's means no mean and std but those that are given.", "--range")]
Colour = Annotated[Optional[str], _option("Order of channels: RGB, BGR or grey. A graph of one channel is grey.")]
Axes = Annotated[Optional[str], _option("NCHW or NHWC, where the graph does not tell.")]
Resize = Annotated[Optional[str], _option(
    "crop: shorter side to size / --crop-share, then the centre; squash: both sides; letterbox: all of it, on grey.")]
CropShare = Annotated[Optional[float], _option("What the crop keeps. Default: 0.875; 1 below 64 px.")]
Interpolation = Annotated[Optional[str], _option("bilinear or bicubic.")]
Antialias = Annotated[Optional[bool], _option("Whether shrinking takes every pixel into account, as Pillow does; "
                                              "torch's and OpenCV's resize of tensors do not. Default: it does.",
                                              "--antialias/--no-antialias")]


def source_options(*, mean: str | None, std: str | None, labels: str | None, input_size: str | None,
                   **others: Any) -> SourceOptions:
    """What the user told; the `others` are fields of `SourceOptions` as they are. EdgeSeError names a wrong option."""
    from edge_se.data.class_names import labels_of
    from edge_se.graph.source_options import SourceOptions

    return SourceOptions(mean=channel_values(mean, "--mean"), std=channel_values(std, "--std"),
                         input_size=None if input_size is None else image_size(input_size),
                         labels=None if labels is None else labels_of(labels), **others)


def image_size(value: str) -> tuple[int, int]:
    """(height, width) of `224` or `48x192`; EdgeSeError for anything else."""
    sides = value.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and MIN_SIDE <= int(side) <= MAX_SIDE for side in sides):
        raise EdgeSeError(f"'{value}' is no size of images", where="--input-size",
                          fix=f"write N or HEIGHTxWIDTH, sides of {MIN_SIDE} to {MAX_SIDE} pixels: 224, 48x192")
    return int(sides[0]), int(sides[-1])
