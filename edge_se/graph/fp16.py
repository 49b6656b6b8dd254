"""FP16 graphs, by the converter that onnxruntime-tools became (`onnxruntime.transformers.float16`)."""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stdout

import onnx

from edge_se.graph.metadata import write_metadata
from edge_se.graph.names import NeutralNames
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.rewrites import checked, sort_topologically


def to_fp16(model: OnnxModel) -> OnnxModel:
    """The same graph with FP16 floats; input and output stay float32, so the contract is unchanged."""
    proto = model.copy()
    names = NeutralNames(proto)
    proto = with_half_floats(proto)
    names.restore(proto)
    if model.metadata:
        write_metadata(proto, model.metadata)
    return OnnxModel.of(checked(proto), precision="fp16", parent=model)


def with_half_floats(proto: onnx.ModelProto) -> onnx.ModelProto:
    """`proto` with FP16 weights and activations (scales of Q/DQ too) and float32 input and output."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # it warns of every weight below FP16's smallest normal number
        converted: onnx.ModelProto = convert_float_to_float16(proto, keep_io_types=True)
    del converted.graph.value_info[:]  # the converter leaves some at float32
    sort_topologically(converted)  # it appends the casts of the input
    return converted
