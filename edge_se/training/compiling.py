"""`torch.compile` of what a training step calls."""

from __future__ import annotations

import os
import shutil
from typing import Any

import torch
from torch import nn

from edge_se.core.errors import UnavailableError
from edge_se.core.recipes import Recipe


def compiled(net: nn.Module, recipe: Recipe) -> Any:
    """`net` as it is, or compiled where the recipe says `compile = true`: once per resolution, sharing parameters."""
    if not recipe.compile:
        return net
    if shutil.which(os.environ.get("CXX", "g++")) is None and shutil.which("clang++") is None:
        raise UnavailableError("torch.compile needs a C++ compiler, and there is none", where="compile",
                               fix="install g++, or set compile = false in the recipe")
    return torch.compile(net, dynamic=False)
