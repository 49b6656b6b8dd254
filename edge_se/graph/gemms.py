"""Gemm nodes as the product of data and a matrix, plus one number for each output."""

from __future__ import annotations

import numpy as np
import onnx

from edge_se.graph.rewrites import add_constant
from edge_se.graph.view import GraphView, attribute


def plain_gemms(model: onnx.ModelProto) -> None:
    """Takes `alpha` and `beta` of each Gemm into its constants, and gives its bias the shape (outputs,).

    onnxruntime's quantizer ends in an IndexError or a ValueError at a bias of another shape, such as (1, outputs), and
    its INT8 kernel leaves out `beta`. What is multiplied with computed numbers, and a bias of several rows, stay.
    Changes `model`.
    """
    view = GraphView(model)
    for node in model.graph.node:
        weight = view.constant(node.input[1]) if node.op_type == "Gemm" else None
        if weight is None:
            continue
        alpha, beta = (float(str(attribute(node, name, 1.0))) for name in ("alpha", "beta"))
        outputs = weight.shape[0 if attribute(node, "transB", 0) else 1]
        bias = view.constant(node.input[2]) if len(node.input) > 2 else None
        if alpha != 1:
            node.input[1] = add_constant(model, node.input[1], np.multiply(weight, alpha, dtype=weight.dtype))
            _drop(node, "alpha")
        if bias is not None and (bias.ndim < 2 or len(bias) == 1) and (beta != 1 or bias.shape != (outputs,)):
            flat = np.broadcast_to(np.multiply(bias, beta, dtype=bias.dtype).reshape(-1), (outputs,))
            node.input[2] = add_constant(model, node.input[2], flat)
            _drop(node, "beta")


def _drop(node: onnx.NodeProto, name: str) -> None:
    """Removes an attribute: its default is 1."""
    kept = [entry for entry in node.attribute if entry.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
