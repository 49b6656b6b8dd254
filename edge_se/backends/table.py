"""Every runtime by name: one explicit table. `auto` takes the first that can."""

from __future__ import annotations

from collections.abc import Mapping

from edge_se.backends.base import Backend, Device
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.backends.openvino import OpenVino
from edge_se.graph.onnx_model import OnnxModel

BACKENDS: dict[str, Backend] = {"onnxruntime": OnnxRuntime(), "openvino": OpenVino()}


def first_that_runs(model: OnnxModel, device: Device,
                    backends: Mapping[str, Backend] | None = None) -> tuple[Backend | None, list[str]]:
    """The first of `backends` (this machine's) that runs `model` on `device`, or None and each one's reason."""
    reasons = []
    for backend in (BACKENDS if backends is None else backends).values():
        reason = backend.why_not(model, device)
        if reason is None:
            return backend, []
        reasons.append(reason)
    return None, reasons
