"""Compile checks with TensorRT for RTX, whose parser and ahead-of-time builder need no GPU.

Running is the agent's part (`edge_se.device.agent`), on this machine as on another: see `remote.py`.
"""

from __future__ import annotations

from edge_se.core.errors import UnavailableError
from edge_se.device.agent import AgentError, TensorRt, load_tensorrt
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.builder_log import layers_in
from edge_se.measure.layers import engine_of
from edge_se.measure.promise import Promise, promise_of

PACKAGE = "tensorrt_rtx"
# Ampere, as Orin is (8.7, which the builder does not offer): what it parses and fuses there, Orin's TensorRT does too.
CAPABILITY = "SM86"


def parse_check(model: OnnxModel) -> str | None:
    """None when TensorRT for RTX reads a file, else its parser's words.

    Raises UnavailableError where it is not installed.
    """
    own = _loaded("lint")
    network = own.module.Builder(own.logger).create_network(own.creation_flags())
    parser = own.module.OnnxParser(network, own.logger)
    if parser.parse(model.content):
        return None
    return "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors)) or own.said()


def compile_check(model: OnnxModel, batch: int = 1) -> str | None:
    """None when an engine can be built of a file for every runtime or for TensorRT, else the builder's words.

    Raises UnavailableError where TensorRT for RTX is not installed.
    """
    return compiled(model, batch)[0]


def compiled(model: OnnxModel, batch: int = 1, capability: str = CAPABILITY) -> tuple[str | None, Promise | None]:
    """The builder's words where it refuses the file, and whether the engine runs in INT8 what the file asks for.

    The latter is None where the builder tells no layers. Raises UnavailableError as `compile_check` does.
    """
    builder = _loaded("--compile")
    try:
        builder.build(model.content, precision=model.precision, batch=batch, capability=capability)
    except AgentError as error:
        return error.what, None
    layers = layers_in("\n".join(builder.layers))
    return None, promise_of(model.proto, engine_of(layers, None)) if layers else None


def _loaded(where: str) -> TensorRt:
    try:
        return load_tensorrt(PACKAGE)
    except AgentError as error:
        raise UnavailableError(f"TensorRT for RTX: {error.what}", where=where,
                               fix="pip install 'edge-se[rtx]'") from error
