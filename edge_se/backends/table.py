"""Every runtime by name: the `BACKENDS` of each module of this package that is one. `auto` takes the first that can.

To add one: a file beside this one, with a class that extends `Backend`, one that extends `Session`, and `BACKENDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from edge_se import backends as package
from edge_se.backends.base import Backend, Device
from edge_se.graph.onnx_model import OnnxModel

NO_RUNTIMES = ("base", "fresh", "remote", "shards", "table", "tensorrt", "tflm", "vela")  # the other modules here
_MODULES = [import_module(f"{package.__name__}.{module.name}") for module in iter_modules(package.__path__)
            if not module.ispkg and module.name not in NO_RUNTIMES]
_FOUND: list[Backend] = [backend for module in _MODULES for backend in vars(module)["BACKENDS"]]
BACKENDS: dict[str, Backend] = {backend.name: backend
                                for backend in sorted(_FOUND, key=lambda backend: not backend.automatic)}
AUTOMATIC: dict[str, Backend] = {name: backend for name, backend in BACKENDS.items() if backend.automatic}


def first_that_runs(model: OnnxModel, device: Device,
                    backends: Mapping[str, Backend] | None = None) -> tuple[Backend | None, list[str]]:
    """The first of `backends` (AUTOMATIC) that runs `model` on `device`, or None and each one's reason.

    Backends that wait to be asked for are passed over.
    """
    reasons = []
    for backend in (AUTOMATIC if backends is None else backends).values():
        if not backend.automatic:
            continue
        reason = backend.why_not(model, device)
        if reason is None:
            return backend, []
        reasons.append(reason)
    return None, reasons
