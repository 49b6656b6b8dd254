"""Brings older and other spellings of ONNX to what the rest of edge-se reads: float32, opset 13, no functions.

Each step leaves a graph that does not need it unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, inliner, numpy_helper, version_converter

from edge_se.core.errors import ModelError
from edge_se.graph.image_input import fix_size
from edge_se.graph.onnx_model import image_input, opset_of
from edge_se.graph.rewrites import hide_constants
from edge_se.graph.shapes import inferred
from edge_se.graph.trial import alike, outputs_of, random_images, session_of

CONVERTIBLE_OPSET = 7  # onnx's version converter knows no adapters below
OLDEST_OPSET = 13  # per-channel DequantizeLinear
OLDEST_IR = 4  # from here on constants need not be inputs
TOLERANCE = 1e-3  # of the largest logit; converters do not change how sums are rounded by more
HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")  # element types that are attributes


def upgraded(proto: onnx.ModelProto, path: Path, axes: str | None = None,
             size: tuple[int, int] | None = None) -> onnx.ModelProto:
    """`proto` (changed) with functions inlined, float32 instead of FP16 and BF16, a fixed size, and opset 13 or later.

    `axes` and `size` (height, width) are what the user tells where the graph does not. Raises ModelError where they do
    not fit, the opset is too old, or onnx's converter cannot raise it without changing the numbers.
    """
    if proto.functions:
        proto = inliner.inline_local_functions(proto)
    opset = opset_of(proto)
    if opset < CONVERTIBLE_OPSET:
        raise ModelError(f"opset {opset} is older than what onnx can convert", where=path,
                         fix=f"export it with opset {OLDEST_OPSET} or later")
    if proto.ir_version < OLDEST_IR:
        hide_constants(proto)
        proto.ir_version = max(OLDEST_IR, helper.find_min_ir_version_for(list(proto.opset_import)))
    if with_full_floats(proto):
        _drop_casts(proto)
    _forget_sizes_below_one(proto)
    fix_size(proto, size, axes, path)
    return _raised(proto, path) if opset < OLDEST_OPSET else proto


def _forget_sizes_below_one(proto: onnx.ModelProto) -> None:
    """Makes every size of -1, which Paddle's exporter writes for "any", one that is not known, and 0 of an image."""
    for graph in graphs_of(proto.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_value < 0:
                    dim.Clear()
    for value in (*proto.graph.input, *proto.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value == 0:
                dim.Clear()


def graphs_of(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """`graph` and the bodies of its control flow, however deep."""
    yield graph
    for node in graph.node:
        for entry in node.attribute:
            for body in (*([entry.g] if entry.HasField("g") else []), *entry.graphs):
                yield from graphs_of(body)


def with_full_floats(proto: onnx.ModelProto) -> bool:
    """Makes every FP16 and BF16 tensor float32, inputs and outputs too; returns whether there was one.

    INT8 ranges and int32 biases are computed in float32, and no CPU kernel is faster in half of it.
    """
    changed = False
    for graph in graphs_of(proto.graph):
        for tensor in graph.initializer:
            changed |= _widened(tensor)
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type in HALVES:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
                changed = True
        for node in graph.node:
            for entry in node.attribute:
                if entry.name in TYPE_ATTRIBUTES and entry.i in HALVES:
                    entry.i, changed = TensorProto.FLOAT, True
                if entry.HasField("t"):
                    changed |= _widened(entry.t)
                for tensor in entry.tensors:
                    changed |= _widened(tensor)
    return changed


def _drop_casts(proto: onnx.ModelProto) -> None:
    """Turns casts from float32 to float32, which former half floats leave, into identities that onnxruntime removes."""
    shaped = inferred(proto).graph
    floats = {value.name for value in (*shaped.input, *shaped.value_info)
              if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    floats |= {constant.name for constant in shaped.initializer if constant.data_type == TensorProto.FLOAT}
    for node in proto.graph.node:
        if node.op_type == "Cast" and node.input[0] in floats and node.attribute[0].i == TensorProto.FLOAT:
            node.op_type = "Identity"
            del node.attribute[:]


def _widened(tensor: onnx.TensorProto) -> bool:
    if tensor.data_type not in HALVES:
        return False
    try:
        values = numpy_helper.to_array(tensor).astype(np.float32)
    except (ValueError, TypeError) as error:
        raise ModelError(f"does not hold what its shape says ({error})", where=f"tensor '{tensor.name}'",
                         fix="export the model again") from error
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return True


def _raised(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    opset = opset_of(proto)
    hide_constants(proto)  # onnx's converter keeps an initializer's old shape where it is an input as well
    try:
        raised = version_converter.convert_version(proto, OLDEST_OPSET)
    except Exception as error:  # the converter's C++ raises RuntimeError, IndexError and its own kinds
        said = str(error).partition("\n")[0]
        raise ModelError(f"onnx cannot raise opset {opset} to {OLDEST_OPSET} ({said})", where=path,
                         fix=f"export it with opset {OLDEST_OPSET} or later") from error
    raised.ir_version = max(proto.ir_version, helper.find_min_ir_version_for(list(raised.opset_import)))
    images = random_images(proto, image_input(proto).type.tensor_type.shape.dim[0].dim_value or 1)
    before, after = (outputs_of(session_of(graph, path), images, path)[0] for graph in (proto, raised))
    if not alike(after, before, TOLERANCE):
        raise ModelError(f"onnx's converter changes what it computes on the way from opset {opset} to {OLDEST_OPSET}",
                         where=path, fix=f"export it with opset {OLDEST_OPSET} or later")
    return raised
