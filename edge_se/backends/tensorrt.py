"""Compile checks with TensorRT for RTX, whose parser and ahead-of-time builder need no GPU.

Running is the agent's part (`edge_se.device.agent`), on this machine as on another: see `remote.py`.
"""

from __future__ import annotations

from edge_se.core.errors import UnavailableError
from edge_se.device.agent import AgentError, load_tensorrt
from edge_se.graph.onnx_model import OnnxModel

PACKAGE = "tensorrt_rtx"
# Ampere, as Orin is (8.7, which the builder does not offer): what it parses and fuses there, Orin's TensorRT does too.
CAPABILITY = "SM86"


def compile_check(model: OnnxModel, batch: int = 1) -> str | None:
    """None when an engine can be built of a file for every runtime or for TensorRT, else the builder's words.

    Raises UnavailableError where TensorRT for RTX is not installed.
    """
    try:
        builder = load_tensorrt(PACKAGE)
    except AgentError as error:
        raise UnavailableError(f"TensorRT for RTX: {error.what}", where="--compile",
                               fix="pip install 'edge-se[rtx]'") from error
    try:
        builder.build(model.content, precision=model.precision, batch=batch, capability=CAPABILITY)
    except AgentError as error:
        return error.what
    return None
