"""`torch.compile` of what a training step calls."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from edge_se.core.errors import UnavailableError
from edge_se.core.recipes import Recipe


def why_not() -> str | None:
    """What torch.compile lacks on this machine; None when it can run.

    It writes C++ (for a GPU a little C) that includes Python.h, and calls $CXX, else g++ (clang++ on macOS).
    """
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        return f"a C++ compiler, and there is no '{compiler}'"
    if not Path(sysconfig.get_paths()["include"], "Python.h").is_file():
        return "Python's C headers, and there are none"
    return None


def compiles(recipe: Recipe) -> bool:
    """Whether `recipe` trains a compiled net here: "auto" does where it can; UnavailableError where `true` cannot."""
    if recipe.compile is False:
        return False
    lacking = why_not()
    if lacking and recipe.compile is True:
        raise UnavailableError(f"torch.compile needs {lacking}", where="compile",
                               fix="install g++ and Python's headers, or set compile = false or \"auto\" in the recipe")
    return lacking is None


def compiled(net: nn.Module, recipe: Recipe) -> Callable[[torch.Tensor], torch.Tensor]:
    """`net` as it is, or compiled where `compiles` says so: once per resolution, sharing parameters."""
    if not compiles(recipe):
        return net
    from torch import _dynamo  # slow to import

    # Past its limit of versions per function torch falls back to eager without an error. What earlier runs of this
    # process have compiled counts, too: the nets share their code.
    _dynamo.reset()
    limits = _dynamo.config
    limits.recompile_limit = max(limits.recompile_limit, 2 * len(set(recipe.resolutions)))
    return _told(torch.compile(net, dynamic=False))


def _told(step: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """`step`, which compiles at its first call. What fails then is raised as UnavailableError."""
    from torch._dynamo.exc import TorchDynamoException

    def call(images: torch.Tensor) -> torch.Tensor:
        try:
            return step(images)
        except TorchDynamoException as error:
            why = str(getattr(error, "inner_exception", error)).strip().partition("\n")[0]
            raise UnavailableError(f"torch.compile failed ({why})", where="compile",
                                   fix="mend the C++ compiler, or set compile = false in the recipe") from error
    return call
