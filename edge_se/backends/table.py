"""Every runtime by name: one explicit table. `auto` takes the first of AUTOMATIC that can."""

from __future__ import annotations

from collections.abc import Mapping

from edge_se.backends.base import Backend, Device
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.backends.openvino import OpenVino
from edge_se.backends.providers import PROVIDERS, OnnxRuntimeProvider
from edge_se.backends.torch import Torch
from edge_se.graph.onnx_model import OnnxModel

AUTOMATIC: dict[str, Backend] = {"onnxruntime": OnnxRuntime(), "openvino": OpenVino()}
# Measured when they are named, or by `all`: nobody deploys from torch, and a provider may need a GPU.
ON_REQUEST: dict[str, Backend] = {
    "torch": Torch("torch", compiled=False), "torch-compiled": Torch("torch-compiled", compiled=True),
    **{f"onnxruntime-{name}": OnnxRuntimeProvider(name) for name in PROVIDERS}}
BACKENDS: dict[str, Backend] = AUTOMATIC | ON_REQUEST


def first_that_runs(model: OnnxModel, device: Device,
                    backends: Mapping[str, Backend] | None = None) -> tuple[Backend | None, list[str]]:
    """The first of `backends` (AUTOMATIC) that runs `model` on `device`, or None and each one's reason.

    Backends that wait to be asked for are passed over.
    """
    reasons = []
    for backend in (AUTOMATIC if backends is None else backends).values():
        if backend.name in ON_REQUEST:
            continue
        reason = backend.why_not(model, device)
        if reason is None:
            return backend, []
        reasons.append(reason)
    return None, reasons
