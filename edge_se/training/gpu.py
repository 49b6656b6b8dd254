"""What a GPU needs beside what a CPU needs: exact FP32, the fastest convolutions, batches that fit its memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from edge_se.core.recipes import Recipe


@contextmanager
def without_tf32(device: torch.device) -> Iterator[None]:
    """FP32 in FP32 on a GPU. By default torch has convolutions multiplied there in TF32, with ten bits of fraction."""
    if device.type != "cuda":
        yield
        return
    settings = torch.backends.cudnn.conv, torch.backends.cuda.matmul  # type: ignore[attr-defined]  # torch's stubs
    before = [each.fp32_precision for each in settings]
    for each in settings:
        each.fp32_precision = "ieee"
    try:
        yield
    finally:
        for each, precision in zip(settings, before):
            each.fp32_precision = precision


@contextmanager
def searched_convolutions(device: torch.device, recipe: Recipe) -> Iterator[None]:
    """Has cuDNN try each convolution's algorithms at its first step, which pays where batches keep their shapes."""
    if device.type != "cuda" or recipe.augmentation.policy != "none":  # a policy convolves groups of any size
        yield
        return
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def in_parts(net: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """The logits (n, classes) of `images` (n, C, H, W), in halves of halves where the GPU has no memory for more.

    Raises torch.OutOfMemoryError where one image is too many.
    """
    try:
        return net(images)
    except torch.OutOfMemoryError:
        if len(images) == 1:
            raise
    torch.cuda.empty_cache()
    return torch.cat([in_parts(net, part) for part in images.chunk(2)])
