"""The usual preprocessing of a model, and the one that a user tells; the type itself is in edge_se.device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import CalibrationError, EdgeSeError, UnavailableError
from edge_se.data.cifar10 import CLASSES, MEAN, STD
from edge_se.data.presets import IMAGENET_MEAN, IMAGENET_STD
from edge_se.device.agent.preprocess import RANGES, ImageError, Preprocessing, read_pixels, tensor

__all__ = ["CIFAR10", "Preprocessing", "assumed", "read_image", "require_normalisation", "tensor"]

CIFAR10 = Preprocessing(size=(32, 32), mean=MEAN, std=STD, labels=CLASSES)
_CIFAR10_SIDE = 32


def assumed(size: tuple[int, int], labels: tuple[str, ...] = ()) -> Preprocessing:
    """The likely preprocessing of a model of (height, width): CIFAR-10's at 32 pixels, else ImageNet's."""
    if size[0] == _CIFAR10_SIDE:
        return replace(CIFAR10, size=size, labels=labels, share=0.0)
    return Preprocessing(size=size, mean=IMAGENET_MEAN, std=IMAGENET_STD, labels=labels)


def whose(how: Preprocessing) -> str:
    """Whose mean and standard deviation `assumed` took, for a person."""
    return "CIFAR-10" if how.mean == MEAN else "ImageNet"


def require_normalisation(mean: tuple[float, ...] | None, std: tuple[float, ...] | None, scale: str = "0-1",
                          where: str = "") -> None:
    """Raises EdgeSeError, which names the option, unless both fit pixels of the range `scale`. None: not given.

    `where` comes before the option, where a file says it.
    """
    low, high = RANGES[scale]
    for option, values in (("--mean", mean), ("--std", std)):
        if values is None:
            continue
        shown, place = ",".join(f"{value:g}" for value in values), where + (option.lstrip("-") if where else option)
        if not all(abs(value) < float("inf") for value in values):  # NaN is not
            raise EdgeSeError(f"{shown} holds what is no number", where=place, fix="give one number per channel")
        if max(values) > high:
            fixed = ",".join(f"{value / 255:.4g}" for value in values)
            raise EdgeSeError(f"{shown} is of pixels from 0 to 255; here they are from {low:g} to {high:g}",
                              where=place, fix=f"divide by 255: {option} {fixed}" if scale == "0-1" else
                              "give --range 0-255, or the numbers for this range")
        if high == 255 and max(values) <= 1 and set(values) not in ({0.0}, {1.0}):
            fixed = ",".join(f"{value * 255:.6g}" for value in values)
            raise EdgeSeError(f"{shown} is of pixels from 0 to 1; here they are from 0 to 255", where=place,
                              fix=f"multiply by 255: {option} {fixed}, or leave --range 0-255 out")
        least = 0.0 if option == "--std" else low
        if min(values) < least or (option == "--std" and min(values) == 0):
            said = "above 0" if option == "--std" else f"from {low:g} to {high:g}"
            raise EdgeSeError(f"{shown} cannot be: a {'standard deviation' if option == '--std' else 'mean'} of pixels "
                              f"is {said}", where=place, fix="give what the model was trained with")


def read_image(path: Path, how: Preprocessing) -> NDArray[np.uint8]:
    """RGB (3, height, width) of an image file, resized as `how` says; CalibrationError when it cannot be used."""
    try:
        return read_pixels(path, how)
    except ModuleNotFoundError as error:
        raise UnavailableError("reading image files needs Pillow", where=path, fix="pip install pillow") from error
    except ImageError as error:
        raise CalibrationError(error.what, where=path, fix=error.fix or None) from error
