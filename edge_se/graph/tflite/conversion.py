"""From an ONNX graph to the bytes of a `.tflite` file."""

from __future__ import annotations

from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.tflite.operators import OPERATORS
from edge_se.graph.tflite.translation import Translation


def to_tflite(model: OnnxModel) -> bytes:
    """The `.tflite` file of an ONNX graph, float or Q/DQ; equal graphs give equal bytes.

    It takes images as (batch, height, width, 3), LiteRT's own order, and its metadata are the graph's. ModelError for
    what LiteRT has no form for here, UnavailableError without ai-edge-litert.
    """
    return Translation(model).content(model, OPERATORS)
