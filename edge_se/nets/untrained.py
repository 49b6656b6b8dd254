"""Nets without training, alike on every call: to look at a net's structure, size and speed before training it."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from edge_se.nets.spec import ModelSpec
from edge_se.nets.zoo import build

SEED = 0
PIXELS = 2**16  # of all images together that the batch norms see


def build_untrained(spec: ModelSpec) -> nn.Module:
    """The net with random weights, in evaluation mode, its batch norms warmed on noise so that activations stay of
    order 1. The global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        net = build(spec)
        norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = None  # the plain average of the batches: here, of the one
        images = torch.randn(max(2, PIXELS // spec.input_size**2), 3, spec.input_size, spec.input_size)
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
