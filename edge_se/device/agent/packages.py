"""Packages of this Python that run models."""

from __future__ import annotations

import importlib
from importlib import metadata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LITERT = ("ai-edge-litert", "ai-edge-litert-nightly")  # one package for Python, by two names


def imported(name: str) -> Any:
    """The package `name`; ImportError where it is missing or does not load.

    A folder of its name imports as well and is none: pip leaves one behind where two packages wrote into one, as
    onnxruntime and onnxruntime-gpu do, and one of them is removed; stubs and somebody's engines make others.
    """
    module = importlib.import_module(name)
    if getattr(module, "__file__", None) is None:
        raise ModuleNotFoundError(f"No module named {name!r}")
    return module


def installed_version(runtime: str) -> str:
    """The version of onnxruntime or LiteRT; ImportError where it cannot be imported."""
    if runtime != "litert":
        return str(imported(runtime).__version__)
    imported("ai_edge_litert.interpreter")
    return next((one.version for name in LITERT for one in metadata.distributions(name=name)), "unknown")
