"""Parameters and multiply-accumulates of an ONNX graph. FLOPs are 2 x MACs; what torch's FlopCounterMode counts counts.

Those are convolutions, also transposed, and products of matrices, also as Einsum. What no image changes costs nothing:
it is computed once, when the file is made or loaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx

from edge_se.core.errors import ModelError
from edge_se.graph.parameters import parameters_of
from edge_se.graph.shapes import infer, without_weights
from edge_se.graph.view import GraphView, attribute, node_label

WEIGHTED = ("Conv", "Gemm", "MatMul")
COUNTED = (*WEIGHTED, "ConvTranspose", "Einsum")


@dataclass(frozen=True, kw_only=True)
class Counts:
    """For one image. `params` are the graph's own (edge_se.graph.parameters): a folded batch norm is a bias."""

    params: int
    macs: int
    int8_macs: int

    @property
    def flops(self) -> int:
        """2 x MACs."""
        return 2 * self.macs

    @property
    def int8_mac_share(self) -> float:
        """Share of the MACs whose data and weights are both INT8."""
        return self.int8_macs / self.macs if self.macs else 0.0


def count(model: onnx.ModelProto) -> Counts:
    """Counts a float or a Q/DQ graph; raises ModelError when a shape is unknown."""
    macs = macs_by_node(model)
    view = GraphView(model)
    quantized = sum(macs[node.output[0]] for node in model.graph.node
                    if node.op_type in WEIGHTED and all(_comes_from_int8(name, view) for name in node.input[:2]))
    return Counts(params=parameters_of(model), macs=sum(macs.values()), int8_macs=quantized)


def macs_by_node(model: onnx.ModelProto) -> dict[str, int]:
    """MACs of each node of COUNTED for one image, by the name of its first output."""
    shapes, batch = shapes_of(model), fixed_batch(model)
    return {node.output[0]: _macs(node, shapes, batch) for node in model.graph.node if node.op_type in COUNTED}


def shapes_of(model: onnx.ModelProto) -> dict[str, list[int]]:
    """The inferred shape of every tensor for a batch of 1 where it is dynamic; 0 where a size is unknown all the same.

    Constants are included. With the batch set, onnx infers what a reshape or a window makes of it.
    """
    found = infer(_with_batch(without_weights(model)), data_prop=True)
    values = (*found.graph.input, *found.graph.value_info, *found.graph.output)
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values
              if value.type.tensor_type.HasField("shape")}
    return shapes | {constant.name: list(constant.dims) for constant in found.graph.initializer}


def _with_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model`, changed: its input's batch is 1 if it was dynamic, and shapes that were inferred before are gone."""
    constants = {initializer.name for initializer in model.graph.initializer}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in constants and len(dims) and dims[0].dim_value <= 0:
            dims[0].Clear()
            dims[0].dim_value = 1
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    return model


def fixed_batch(model: onnx.ModelProto) -> int:
    """The batch that the graph's first input is fixed to; 1 where it is dynamic."""
    constants = {initializer.name for initializer in model.graph.initializer}
    images = next((value for value in model.graph.input if value.name not in constants), None)
    dims = images.type.tensor_type.shape.dim if images is not None else []
    return max(1, dims[0].dim_value) if len(dims) else 1


def elements_per_image(shape: list[int], batch: int) -> int:
    """Elements of an activation for one image: a dynamic batch counts as 1, a fixed one is divided out."""
    if not shape:
        return 1
    leading = shape[0] or 1
    return (leading // batch if leading % batch == 0 else leading) * math.prod(shape[1:])


def _macs(node: onnx.NodeProto, shapes: dict[str, list[int]], batch: int) -> int:
    try:
        weight, outputs = shapes[node.input[1]], elements_per_image(shapes[node.output[0]], batch)
        if node.op_type == "Einsum":
            return _known(_einsum_macs(node, shapes, batch), node)
        if node.op_type == "ConvTranspose":
            read = elements_per_image(shapes[node.input[0]], batch)
            return _known(read * math.prod(weight[1:]), node)
        if node.op_type == "Conv":
            return _known(outputs * math.prod(weight[1:]), node)
        if node.op_type == "Gemm":
            return _known(outputs * (weight[1] if attribute(node, "transB", 0) else weight[0]), node)
        return _known(outputs * shapes[node.input[0]][-1], node)
    except (KeyError, IndexError):
        raise ModelError("its shape is unknown, so its MACs are", where=node_label(node),
                         fix="export with fixed height and width (the batch may be dynamic)") from None


def _einsum_macs(node: onnx.NodeProto, shapes: dict[str, list[int]], batch: int) -> int:
    """The sizes of all its letters multiplied: each is a loop. Letters stand for what `...` stands for, too."""
    equation = onnx.helper.get_node_attr_value(node, "equation").decode().replace(" ", "")
    sizes: dict[str, int] = {}
    for term, name in zip(equation.split("->")[0].split(","), node.input):
        head, dots, tail = term.partition("...")
        shape = shapes[name]
        middle = len(shape) - len(head) - len(tail)
        letters = [*head, *(f"...{axis}" for axis in range(middle, 0, -1) if dots), *tail]
        for letter, size in zip(letters, shape):
            sizes[letter] = max(sizes.get(letter, 0), size)
            if size == 0:
                return 0
    macs = math.prod(sizes.values()) * max(1, len(node.input) - 1)
    return macs // batch if macs % batch == 0 else macs


def _known(macs: int, node: onnx.NodeProto) -> int:
    if macs <= 0:
        raise ModelError("its height or width is dynamic, so its MACs are unknown", where=node_label(node),
                         fix="export with fixed height and width (the batch may be dynamic)")
    return macs


def _comes_from_int8(name: str, view: GraphView) -> bool:
    node = view.producer.get(name)
    return node is not None and node.op_type == "DequantizeLinear"
