"""Which constants of a graph are parameters: what training set, as torch counts `sum(p.numel() for p in parameters())`.

A parameter is a weight, a bias or a PReLU slope; scale and shift of a normalization; a class token, a position
embedding or a layer scale, which a network adds, multiplies or puts beside what it computed. Each counts once however
many nodes read it, in the size in which the file stores it, before constants are folded: a table of relative positions,
not what is gathered from it. No parameters are statistics of batch norms (torch's buffers), scalars (the 3 and 1/6 of a
hard swish), masks of attention, the normalisation of pixels, filters that are alike in all channels (anti-aliasing),
shapes and axes, scales and zero points of INT8.

What a file does not say cannot be told: a batch norm that an exporter has folded counts as the one bias that is left of
it (torch: two of that size), a position table that it has gathered counts its distinct values, and sines that a network
adds as positions count as if they were learned.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from edge_se.graph.view import GraphView, attribute

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
LEARNED = {  # positions of inputs that are parameters whatever their size
    "Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "MatMul": (0, 1), "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2), "LayerNormalization": (1, 2), "GroupNormalization": (1, 2),
    "RMSNormalization": (1,), "PRelu": (1,)}
JOINING = ("Add", "Mul", "Concat")  # a constant beside something computed
SHAPED = ("Expand", "Reshape", "Tile")  # by sizes of the batch, as a class token is
POINTWISE = ("Add", "Sub", "Mul", "Div", "Cast", "Identity", "Transpose", "Gather", "Concat", "Slice", "Unsqueeze")
TO_SCORES = ("Add", "Reshape", "Transpose", "Mul", "Cast", "Identity")  # what may stand between a mask and its Softmax
MASKED = -50.0  # what a mask adds to a score that must not count


def parameters_of(model: onnx.ModelProto) -> int:
    """The number of parameters in a float or a Q/DQ graph without control flow, as this module defines them."""
    view, constants = GraphView(model), _constants(model)
    roots = _roots(model, constants)
    pixels = _near_the_image(model, constants)
    sizes: dict[str, int] = {}
    for node in model.graph.node:
        computed = [name for name in node.input if name and name not in roots]
        for position, name in enumerate(node.input):
            if name not in roots or not _reads_parameter(node, position, bool(computed)):
                continue
            if node.op_type in JOINING and any(other in pixels for other in computed):
                continue
            for root in roots[name]:
                size = _size(root, name, node, constants, view)
                if size:
                    sizes[root] = max(sizes.get(root, 0), size)
    return sum(sizes.values())


def _constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Initializers and the tensors of Constant nodes."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and isinstance(value := attribute(node, "value"), onnx.TensorProto):
            constants[node.output[0]] = value
    return constants


def _roots(model: onnx.ModelProto, constants: dict[str, onnx.TensorProto]) -> dict[str, set[str]]:
    """For each tensor that no image changes: the stored floats that it was made from."""
    roots = {name: {name} if tensor.data_type in FLOATS else set() for name, tensor in constants.items()}
    stored = set(constants)
    for node in model.graph.node:
        if node.op_type == "Identity" and node.input[0] in stored:
            stored.update(node.output)
        inputs = [name for name in node.input if name]
        inputs = inputs[:1] if node.op_type in SHAPED else inputs
        if node.op_type == "Constant" or not inputs or not all(name in roots for name in inputs):
            continue
        if node.op_type == "DequantizeLinear":
            made = {node.input[0]} if node.input[0] in constants else roots[node.input[0]]
        elif node.op_type in ("MatMul", "Gemm"):
            # What is stored and multiplied from the left is a table of coordinates (Swin V2's), not a weight.
            made = set().union(*(roots[name] for name in inputs[1 if inputs[0] in stored else 0:]))
        else:
            made = set().union(*(roots[name] for name in inputs))
        roots.update(dict.fromkeys(node.output, made))
    return roots


def _near_the_image(model: onnx.ModelProto, constants: dict[str, onnx.TensorProto]) -> set[str]:
    """The image and what is normalised, cut and reordered from it before the first layer."""
    values = {value.name for value in model.graph.input if value.name not in constants}
    for node in model.graph.node:
        if node.op_type in POINTWISE and values.intersection(node.input):
            values.update(node.output)
    return values


def _reads_parameter(node: onnx.NodeProto, position: int, computes: bool) -> bool:
    if node.op_type in ("MatMul", "Gemm") and not computes:
        return position > 0
    if node.op_type == "Einsum":
        return computes
    return position in LEARNED.get(node.op_type, ()) or (node.op_type in JOINING and computes)


def _size(root: str, name: str, reader: onnx.NodeProto, constants: dict[str, onnx.TensorProto],
          view: GraphView) -> int:
    """How many parameters the constant `root` is that `reader` reads as `name`."""
    tensor = constants[root]
    elements = int(np.prod(tensor.dims))
    if reader.op_type in JOINING:
        if elements == 1:
            return 0
        if reader.op_type == "Add" and _becomes_scores(reader, view):
            values = np.unique(_array(tensor))
            if len(values) <= 2 and values.min() <= MASKED:
                return 0
            return len(values) if root == name else elements
    if reader.op_type == "Conv" and root == name and _is_fixed_filter(reader, tensor):
        return 0
    return elements


def _becomes_scores(node: onnx.NodeProto, view: GraphView) -> bool:
    seen: dict[str, bool] = defaultdict(bool)
    waiting = [node.output[0]]
    while waiting:
        for reader in view.consumers.get(waiting.pop(), []):
            if reader.op_type == "Softmax":
                return True
            if reader.op_type in TO_SCORES and not seen[reader.output[0]]:
                seen[reader.output[0]] = True
                waiting.append(reader.output[0])
    return False


def _is_fixed_filter(conv: onnx.NodeProto, weight: onnx.TensorProto) -> bool:
    """Whether a depthwise kernel is the same in all channels and has one tap more than one: no training ends so."""
    if weight.dims[0] == 1 or attribute(conv, "group", 1) != weight.dims[0] or np.prod(weight.dims[1:]) == 1:
        return False
    value = _array(weight)
    return bool((value == value[:1]).all())


def _array(tensor: onnx.TensorProto) -> NDArray[np.generic]:
    return numpy_helper.to_array(tensor)
