"""Shape inference without the values of weights, which take memory at each of its copies and tell no shapes."""

from __future__ import annotations

import onnx


def inferred(proto: onnx.ModelProto, **how: bool) -> onnx.ModelProto:
    """`proto` with the shapes of its tensors, but with weights that have no values.

    `how` goes to onnx.shape_inference.infer_shapes, whose InferenceError this raises where that is strict.
    """
    return onnx.shape_inference.infer_shapes(without_weights(proto), **how)


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
