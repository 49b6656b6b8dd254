"""Shape inference without the values of weights, which take memory at each of its copies and tell no shapes."""

from __future__ import annotations

from typing import cast

import onnx

from edge_se.graph.view import attribute
from edge_se.graph.windows import Window, pad_numbers, rounded_down, rounds_up


def inferred(proto: onnx.ModelProto, **how: bool) -> onnx.ModelProto:
    """`proto` with the shapes of its tensors, but with weights that have no values.

    `how` goes to onnx.shape_inference.infer_shapes, whose InferenceError this raises where that is strict.
    """
    return infer(without_weights(proto), **how)


def infer(light: onnx.ModelProto, **how: bool) -> onnx.ModelProto:
    """The same of a copy without weights, which this may change.

    Below opset 22 onnx gives a pool that rounds up a window that begins in the padding behind its input; torch, which
    exports it so, and onnxruntime do not. Such pools round down here, and shapes inferred before are not believed.
    """
    doubtful = [node for node in light.graph.node if _may_begin_outside(node)]
    if doubtful:
        del light.graph.value_info[:]
        for value in light.graph.output:
            value.type.tensor_type.ClearField("shape")
    for node in doubtful:
        shaped = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
        size = next((_size_of(value) for value in (*shaped.input, *shaped.value_info)
                     if value.name == node.input[0]), [])
        if size and all(size):
            window = Window.of(node, _kernel_of(node), size)
            if window.is_one_less:
                pad_numbers(node, rounded_down(window))
    return onnx.shape_inference.infer_shapes(light, **how)


def _may_begin_outside(node: onnx.NodeProto) -> bool:
    """Whether, at some size of its input, the last window of a pool would begin behind the end of it."""
    if not rounds_up(node):
        return False
    kernel = _kernel_of(node)
    window = Window.of(node, kernel, [1] * len(kernel))
    return bool((window.strides + window.pads[1] > window.reach).any())


def _kernel_of(pool: onnx.NodeProto) -> list[int]:
    return cast("list[int]", attribute(pool, "kernel_shape", []))


def _size_of(value: onnx.ValueInfoProto) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim][2:]


def without_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `proto` in which float constants of two and more dimensions have no values."""
    light = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import, functions=proto.functions)
    for field, value in proto.graph.ListFields():
        if field.name != "initializer":
            light.graph.MergeFrom(onnx.GraphProto(**{field.name: value}))
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1:
            light.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        else:
            light.graph.initializer.append(tensor)
    return light
