"""Nets without training, alike on every call: to look at a net's structure, size and speed before training it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import nn

from edge_se.nets.spec import ModelSpec
from edge_se.nets.zoo import build

SEED = 0
PIXELS = 2**16  # of all images together that the batch norms see


def build_untrained(spec: ModelSpec) -> nn.Module:
    """The net of the zoo with random weights, as `warmed` makes it."""
    return warmed(lambda: build(spec), (spec.input_size, spec.input_size))


def warmed(create: Callable[[], nn.Module], size: tuple[int, int]) -> nn.Module:
    """The net that `create` makes with random weights, in evaluation mode, its batch norms warmed on noise of (height,
    width) so that activations stay of order 1. The global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        net = create()
        norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = None  # the plain average of the batches: here, of the one
        images = torch.randn(max(2, PIXELS // (size[0] * size[1])), 3, *size)
        with torch.no_grad():
            net(images)
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum
    return net.eval()


def state_sha256(net: nn.Module) -> str:
    """Hexadecimal SHA-256 over the names and values of all tensors, in order."""
    digest = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
