"""Every runtime by name: one explicit table. `auto` takes the first that can."""

from __future__ import annotations

from edge_se.backends.base import Backend
from edge_se.backends.onnxruntime import OnnxRuntime

BACKENDS: dict[str, Backend] = {"onnxruntime": OnnxRuntime()}
