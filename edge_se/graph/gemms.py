"""Gemm nodes as the product of data and a matrix, plus one number for each output."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from edge_se.graph.rewrites import add_constant, free_name
from edge_se.graph.view import GraphView, attribute


def plain_gemms(model: onnx.ModelProto) -> None:
    """Takes `alpha` and `beta` of each Gemm into its constants, and gives its bias the shape (outputs,).

    onnxruntime's quantizer ends in an IndexError or a ValueError at a bias of another shape, such as (1, outputs), and
    its INT8 kernel leaves out `beta`. A bias with a row for each image of a fixed batch becomes an Add. What is
    multiplied with computed numbers stays. Changes `model`.
    """
    view = GraphView(model)
    for node in list(model.graph.node):
        weight = view.constant(node.input[1]) if node.op_type == "Gemm" else None
        if weight is None:
            continue
        alpha, beta = (float(str(attribute(node, name, 1.0))) for name in ("alpha", "beta"))
        outputs = weight.shape[0 if attribute(node, "transB", 0) else 1]
        bias = view.constant(node.input[2]) if len(node.input) > 2 else None
        if alpha != 1:
            node.input[1] = add_constant(model, node.input[1], np.multiply(weight, alpha, dtype=weight.dtype))
            _drop(node, "alpha")
        if bias is None or (beta == 1 and bias.shape == (outputs,)):
            continue
        scaled = np.multiply(bias, beta, dtype=bias.dtype)
        if bias.ndim == 2 and len(bias) > 1:
            _add_behind(node, add_constant(model, node.input[2], scaled), model)
        else:
            node.input[2] = add_constant(model, node.input[2], np.broadcast_to(scaled.reshape(-1), (outputs,)))
        _drop(node, "beta")


def _add_behind(node: onnx.NodeProto, bias: str, model: onnx.ModelProto) -> None:
    """Replaces the third input of a Gemm by an Add of `bias` to its result."""
    whole, product = node.output[0], free_name(model.graph, f"{node.output[0]}_product")
    node.output[0] = product
    del node.input[2:]
    model.graph.node.insert(list(model.graph.node).index(node) + 1, helper.make_node("Add", [product, bias], [whole]))


def _drop(node: onnx.NodeProto, name: str) -> None:
    """Removes an attribute: its default is 1."""
    kept = [entry for entry in node.attribute if entry.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
