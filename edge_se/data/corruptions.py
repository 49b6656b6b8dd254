"""Corruptions of CIFAR-10-C and ImageNet-C at severities 1 to 5, on images that are uint8 (N, 3, H, W).

Formulas and strengths are those published by Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations", arXiv 1903.12261, in hendrycks/robustness: for 32 pixels `make_cifar_c.py` at
commit ca360085, for 64 `make_tinyimagenet_c.py` at 7a64e6a1, for 224 `corruptions.py` at 20caed99. As there, results
are cut to whole steps, not rounded. Unlike there, each image has its own draws, from the seed, the corruption and the
position of the image, so that it looks the same whatever is evaluated beside it. Draws start the same at each
severity: for Gaussian and for impulse noise only the strength changes. The published arrays hold other draws.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import DataError, did_you_mean

SEVERITIES = (1, 2, 3, 4, 5)
CHUNK = 256  # images of 32 pixels at a time: a few megabytes of float64, which stay in the cache
Strengths: TypeAlias = tuple[tuple[float, ...], ...]  # of each severity
Pixels: TypeAlias = NDArray[np.uint8]
Draws: TypeAlias = Iterator[np.random.Generator]  # one per image, made when asked for


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """`apply(pixels, draws, *strength)`, with the strength of each severity; `about` says what the strength is.

    `strengths` are for images of 32 pixels, the other two for 64 and for 224.
    """

    about: str
    strengths: Strengths
    tiny: Strengths
    large: Strengths
    apply: Callable[..., Pixels]

    def strength(self, severity: int, size: tuple[int, int]) -> tuple[float, ...]:
        """That of the published set whose images are nearest in size to (height, width)."""
        published = {"CIFAR-10-C": self.strengths, "Tiny-ImageNet-C": self.tiny, "ImageNet-C": self.large}
        return published[published_for(size)][severity - 1]


def published_for(size: tuple[int, int]) -> str:
    """The set whose strengths images of (height, width) get: bounds are the geometric means of 32, 64 and 224."""
    side = min(size)
    return "CIFAR-10-C" if side < 46 else "Tiny-ImageNet-C" if side < 120 else "ImageNet-C"


def corrupt(pixels: Pixels, name: str, severity: int, *, seed: int = 0,
            positions: NDArray[np.int64] | None = None) -> Pixels:
    """uint8 (N, 3, H, W) to the same under a corruption; `positions` (N,) are the places in the whole set (0 to N).

    Raises DataError for an unknown corruption or severity.
    """
    corruption = require_corruption(name, severity)
    size: tuple[int, int] = pixels.shape[2:]
    strength, result = corruption.strength(severity, size), np.empty_like(pixels)
    places = np.arange(len(pixels)) if positions is None else positions
    chunk = max(1, CHUNK * 32 * 32 // max(1, size[0] * size[1]))
    for start in range(0, len(pixels), chunk):
        part = pixels[start : start + chunk]
        draws = (_draw(name, seed, int(position)) for position in places[start : start + chunk])
        result[start : start + chunk] = corruption.apply(part, draws, *strength)
    return result


def require_corruption(name: str, severity: int) -> Corruption:
    """The corruption of a name; DataError for an unknown one and for a severity that there is not."""
    if severity not in SEVERITIES:
        raise DataError(f"severity {severity} is not between 1 and 5", where="--severities", fix="write 1,3,5")
    return corruption_of(name)


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
    if border > 3:
        from scipy.ndimage import correlate

        return _cut(correlate(pixels / 255, kernel[None, None].astype(np.float64), mode="mirror"))
    light = np.pad(pixels / 255, ((0, 0), (0, 0), (border, border), (border, border)), mode="reflect")
    total = np.zeros(pixels.shape)
    for row, column in np.argwhere(kernel):  # few weights: shifted sums over all images are the quickest way
        total += kernel[row, column] * light[:, :, row : row + height, column : column + width]
    return _cut(total)


def disk(radius: float, smoothing: float) -> NDArray[np.float32]:
    """Weights of a disk, smoothed by a Gaussian of that standard deviation.

    (7, 7) for a radius below 3, else (17, 17) up to 8 and (2 radius + 1)² beyond, as published. The Gaussian has 3 x 3
    weights, 5 x 5 for a radius beyond 8.

    In float32, as OpenCV computes them: where weights add up to a little less than 1, even areas become a step darker.
    """
    reach, half = (3, 1) if radius < 3 else (8, 1) if radius <= 8 else (int(radius), 2)
    steps = np.arange(-reach, reach + 1)
    filled = (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.float32)
    bell = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * smoothing**2))
    bell = (bell / bell.sum()).astype(np.float32)
    mirrored = np.pad(filled / filled.sum(), half, mode="reflect")
    across = np.apply_along_axis(np.convolve, 1, mirrored, bell, "valid")
    return np.asarray(np.apply_along_axis(np.convolve, 0, across, bell, "valid"))


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
                                 strengths=((0.04,), (0.06,), (0.08,), (0.09,), (0.10,)),
                                 tiny=((0.04,), (0.08,), (0.12,), (0.15,), (0.18,)),
                                 large=((0.08,), (0.12,), (0.18,), (0.26,), (0.38,))),
    "shot_noise": Corruption(about="photons of a white pixel", apply=_shot_noise,
                             strengths=((500,), (250,), (100,), (75,), (50,)),
                             tiny=((250,), (100,), (50,), (30,), (15,)),
                             large=((60,), (25,), (12,), (5,), (3,))),
    "impulse_noise": Corruption(about="share of values that become 0 or 255", apply=_impulse_noise,
                                strengths=((0.01,), (0.02,), (0.03,), (0.05,), (0.07,)),
                                tiny=((0.01,), (0.02,), (0.05,), (0.08,), (0.14,)),
                                large=((0.03,), (0.06,), (0.09,), (0.17,), (0.27,))),
    "defocus_blur": Corruption(about="radius of the disk and its smoothing, pixels", apply=_defocus_blur,
                               strengths=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
                               tiny=((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
                               large=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))),
    "jpeg_compression": Corruption(about="quality", apply=_jpeg_compression,
                                   strengths=((80,), (65,), (58,), (50,), (40,)),
                                   tiny=((65,), (58,), (50,), (40,), (25,)),
                                   large=((25,), (18,), (15,), (10,), (7,))),
}
