"""Distortions of a whole batch, each image by its own amount: float images (n, 3, H, W) with values 0..255.

torchvision's v2 functions take one amount for all images of a call; these take one per image and give the same result
(tests compare image by image), so a batch costs one call.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from edge_se.data.draws import Draws

BLUR_SIGMA = (0.1, 2.0)  # pixels; torchvision's default of GaussianBlur
ERASED_AREA, ERASED_LOG_RATIO = (0.02, 0.33), math.log(3.3)  # Zhong et al., arXiv 1708.04896, as in torchvision
_GREY = (0.2989, 0.587, 0.114)  # torchvision's weights of red, green and blue
_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def rotated(images: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    """Turned counter-clockwise about the centre, bilinear, black outside."""
    angle = torch.deg2rad(degrees)
    cosine, sine, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    turn = torch.stack([torch.stack([cosine, -sine, zero], 1), torch.stack([sine, cosine, zero], 1)], 1)
    grid = F.affine_grid(turn, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def jittered(images: torch.Tensor, brightness: torch.Tensor, contrast: torch.Tensor,
             saturation: torch.Tensor) -> torch.Tensor:
    """Brightness, then contrast, then saturation, by a factor per image; 1 changes nothing."""
    images = (images * _each(brightness)).clamp(0, 255)
    images = _blended(images, _grey(images).mean((2, 3), keepdim=True), contrast)
    return _blended(images, _grey(images), saturation)


def hue_turned(images: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Colours turned about the grey axis by `share` of a circle, in YIQ: luma stays (no round trip through HSV)."""
    to_yiq = torch.tensor(_TO_YIQ, device=images.device)
    angle, (one, zero) = 2 * math.pi * share, (torch.ones_like(share), torch.zeros_like(share))
    cosine, sine = torch.cos(angle), torch.sin(angle)
    turn = torch.stack([one, zero, zero, zero, cosine, -sine, zero, sine, cosine], 1).view(-1, 3, 3)
    change = torch.linalg.inv(to_yiq) @ turn @ to_yiq
    return torch.einsum("nij,njhw->nihw", change, images).clamp(0, 255)


def sharpened(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Away from (factor > 1) or towards (< 1) a 3 x 3 smoothing; the border stays, as in Pillow and torchvision."""
    kernel = torch.ones(3, 3, device=images.device)
    kernel[1, 1] = 5
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = F.conv2d(images, (kernel / kernel.sum()).expand(3, 1, 3, 3), groups=3)
    return _blended(images, smooth, factor)


def blurred(images: torch.Tensor, sigma: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """A 3 x 3 Gaussian of `sigma` pixels (n,) where `chosen` (n,), reflected at the edges."""
    side = torch.exp(-0.5 / sigma.square())
    side = _each(torch.where(chosen, side / (1 + 2 * side), torch.zeros_like(side)))
    for dimension in (2, 3):
        size = images.shape[dimension]
        padded = F.pad(images, (0, 0, 1, 1) if dimension == 2 else (1, 1, 0, 0), mode="reflect")
        ends = padded.narrow(dimension, 0, size) + padded.narrow(dimension, 2, size)
        images = (1 - 2 * side) * images + side * ends
    return images


def unerased(draws: Draws, probability: float, size: int) -> torch.Tensor:
    """(n, 1, size, size) of ones; with `probability` zero in a random rectangle (the mean, on normalised images).

    A rectangle that would not fit is cut to the image, where torchvision draws again up to ten times.
    """
    chosen = draws.uniform(0, 1) < probability
    area, ratio = draws.uniform(*ERASED_AREA) * size**2, torch.exp(draws.uniform(-ERASED_LOG_RATIO, ERASED_LOG_RATIO))
    keeps = []
    for length in (torch.sqrt(area * ratio), torch.sqrt(area / ratio)):
        length = length.round().clamp(1, size)
        start = (draws.uniform(0, 1) * (size - length + 1)).floor()[:, None]
        steps = torch.arange(size, device=start.device)
        keeps.append((steps >= start) & (steps < start + length[:, None]))
    return (~(keeps[0][:, :, None] & keeps[1][:, None, :] & chosen[:, None, None])).unsqueeze(1)


def _each(values: torch.Tensor) -> torch.Tensor:
    return values[:, None, None, None]


def _grey(images: torch.Tensor) -> torch.Tensor:
    weights = torch.tensor(_GREY, device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)


def _blended(images: torch.Tensor, other: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return (other + _each(factor) * (images - other)).clamp(0, 255)
