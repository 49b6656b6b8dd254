"""Corruptions of CIFAR-10-C at severities 1 to 5, on images that are uint8 (N, 3, H, W).

Formulas and strengths are those published for CIFAR-10: Hendrycks and Dietterich, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations", arXiv 1903.12261, `make_cifar_c.py` of hendrycks/robustness at
commit ca360085. As there, results are cut to whole steps, not rounded. Unlike there, each image has its own
draws, from the seed, the corruption and the position of the image, so that it looks the same whatever is evaluated
beside it. Draws start the same at each severity: for Gaussian and for impulse noise only the strength changes. The
published arrays hold other draws.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import DataError, did_you_mean
from edge_se.data.splits import ImageSet

SEVERITIES = (1, 2, 3, 4, 5)
CHUNK = 256  # images at a time: a few megabytes of float64, which stay in the cache
Pixels: TypeAlias = NDArray[np.uint8]
Draws: TypeAlias = Iterator[np.random.Generator]  # one per image, made when asked for


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """`apply(pixels, draws, *strength)`, with the strength of each severity; `about` says what the strength is."""

    about: str
    strengths: tuple[tuple[float, ...], ...]
    apply: Callable[..., Pixels]


def corrupted(images: ImageSet, name: str, severity: int, *, seed: int = 0) -> ImageSet:
    """`images` under a corruption, in their order, with their labels; raises DataError as `corrupt` does."""
    return replace(images, name=f"{images.name}+{name}-{severity}",
                   pixels=corrupt(images.pixels, name, severity, seed=seed))


def corrupt(pixels: Pixels, name: str, severity: int, *, seed: int = 0, first: int = 0) -> Pixels:
    """uint8 (N, 3, H, W) to the same under a corruption; `first` is the position of the first image in its set.

    Raises DataError for an unknown corruption or severity.
    """
    corruption = corruption_of(name)
    if severity not in SEVERITIES:
        raise DataError(f"severity {severity} is not between 1 and 5", where="--severities", fix="write 1,3,5")
    strength, result = corruption.strengths[severity - 1], np.empty_like(pixels)
    for start in range(0, len(pixels), CHUNK):
        part = pixels[start : start + CHUNK]
        draws = (_draw(name, seed, first + start + position) for position in range(len(part)))
        result[start : start + CHUNK] = corruption.apply(part, draws, *strength)
    return result


def corruption_of(name: str) -> Corruption:
    """The corruption of a name; DataError with a suggestion."""
    if name not in CORRUPTIONS:
        raise DataError(f"unknown corruption '{name}'", where="--corruptions", fix=did_you_mean(name, CORRUPTIONS))
    return CORRUPTIONS[name]


def _draw(name: str, seed: int, position: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode()), position])


def _cut(light: NDArray[np.float64]) -> Pixels:
    """0..1 to 0..255. Values beyond are clipped; values between two steps become the lower one."""
    return (np.clip(light, 0, 1) * 255).astype(np.uint8)


def _gaussian_noise(pixels: Pixels, draws: Draws, deviation: float) -> Pixels:
    noise = np.stack([random.standard_normal(image.shape) for image, random in zip(pixels, draws)])
    return _cut(pixels / 255 + deviation * noise)


def _shot_noise(pixels: Pixels, draws: Draws, photons: float) -> Pixels:
    counts = np.stack([random.poisson(image * (photons / 255)) for image, random in zip(pixels, draws)])
    return _cut(counts / photons)


def _impulse_noise(pixels: Pixels, draws: Draws, share: float) -> Pixels:
    """Each channel of each pixel by itself: half of the share black, half white."""
    chance = np.stack([random.random(image.shape) for image, random in zip(pixels, draws)])
    return np.where(chance < share / 2, 0, np.where(chance >= 1 - share / 2, 255, pixels)).astype(np.uint8)


def _defocus_blur(pixels: Pixels, draws: Draws, radius: float, smoothing: float) -> Pixels:
    kernel = disk(radius, smoothing)
    (height, width), border = pixels.shape[2:], len(kernel) // 2
    light = np.pad(pixels / 255, ((0, 0), (0, 0), (border, border), (border, border)), mode="reflect")
    total = np.zeros(pixels.shape)
    for row, column in np.argwhere(kernel):  # few weights: shifted sums over all images are the quickest way
        total += kernel[row, column] * light[:, :, row : row + height, column : column + width]
    return _cut(total)


def disk(radius: float, smoothing: float) -> NDArray[np.float32]:
    """Weights of a disk, (7, 7), smoothed by a 3 x 3 Gaussian of that standard deviation; radius below 3.

    In float32, as OpenCV computes them: where weights add up to a little less than 1, even areas become a step darker.
    """
    steps = np.arange(-3, 4)
    filled = (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.float32)
    bell = np.exp(-(np.arange(-1, 2) ** 2) / (2 * smoothing**2))
    bell = (bell / bell.sum()).astype(np.float32)
    across = np.apply_along_axis(np.convolve, 1, filled / filled.sum(), bell, "same")
    return np.asarray(np.apply_along_axis(np.convolve, 0, across, bell, "same"))


def _jpeg_compression(pixels: Pixels, draws: Draws, quality: float) -> Pixels:
    from PIL import Image

    result = np.empty_like(pixels)
    for position, image in enumerate(pixels):
        content = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(content, "JPEG", quality=int(quality))
        with Image.open(content) as opened:
            result[position] = np.asarray(opened).transpose(2, 0, 1)
    return result


CORRUPTIONS = {
    "gaussian_noise": Corruption(about="standard deviation, of 1", apply=_gaussian_noise,
                                 strengths=((0.04,), (0.06,), (0.08,), (0.09,), (0.10,))),
    "shot_noise": Corruption(about="photons of a white pixel", apply=_shot_noise,
                             strengths=((500,), (250,), (100,), (75,), (50,))),
    "impulse_noise": Corruption(about="share of values that become 0 or 255", apply=_impulse_noise,
                                strengths=((0.01,), (0.02,), (0.03,), (0.05,), (0.07,))),
    "defocus_blur": Corruption(about="radius of the disk and its smoothing, pixels", apply=_defocus_blur,
                               strengths=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    "jpeg_compression": Corruption(about="quality", apply=_jpeg_compression,
                                   strengths=((80,), (65,), (58,), (50,), (40,))),
}
