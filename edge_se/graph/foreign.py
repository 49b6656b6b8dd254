"""ONNX files from elsewhere: what can be handled is normalised, what cannot is refused by name and reason."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx

from edge_se.core.errors import ModelError
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.rewrites import hide_constants, prepare
from edge_se.graph.view import node_label

OLDEST_OPSET = 13  # per-channel DequantizeLinear
LARGEST_INPUT = 2**28  # floats
CONTROL_FLOW = ("If", "Loop", "Scan")
QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")


def normalised(model: OnnxModel, path: Path) -> onnx.ModelProto:
    """The classifier in `model` with constants folded, batch norm folded into convolutions and squeezes rewritten.

    Raises ModelError when it is not a float image classifier with one input and one output, or holds what cannot be
    quantized; the message names the node and the reason.
    """
    _refuse_what_cannot_be_handled(model, path)
    return prepare(_folded(model, path))


def _refuse_what_cannot_be_handled(model: OnnxModel, path: Path) -> None:
    proto = model.proto
    opset = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < OLDEST_OPSET:
        raise ModelError(f"opset {opset} has no per-channel DequantizeLinear", where=path,
                         fix=f"export it with opset {OLDEST_OPSET} or later")
    for node in proto.graph.node:
        if node.op_type in CONTROL_FLOW:
            raise ModelError("control flow cannot be quantized statically", where=f"{path}: {node_label(node)}",
                             fix="export the model with fixed control flow (trace it)")
        if node.op_type in QUANTIZED:
            raise ModelError("is quantized already", where=f"{path}: {node_label(node)}",
                             fix="give the float model")
        if node.domain not in ("", "ai.onnx"):
            raise ModelError(f"operator of the custom domain '{node.domain}'", where=f"{path}: {node_label(node)}",
                             fix="export the model with standard ONNX operators")
    batch, channels, height, width = model.input_shape
    if channels != 3 or not height or not width:
        raise ModelError(f"input of shape {model.input_shape}: three channels and a fixed height and width are needed",
                         where=path, fix="export with a fixed NCHW image size (the batch may be dynamic)")
    if (batch or 1) * channels * height * width > LARGEST_INPUT:
        raise ModelError(f"input of shape {model.input_shape} is larger than 1 GiB", where=path,
                         fix="export with a dynamic batch")
    if len(proto.graph.output) != 1:
        names = ", ".join(value.name for value in proto.graph.output)
        raise ModelError(f"has {len(proto.graph.output)} outputs ({names}); a classifier has one", where=path,
                         fix="export the logits alone")


def _folded(model: OnnxModel, path: Path) -> onnx.ModelProto:
    """After onnxruntime's basic optimizations, which stay within standard ONNX operators."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "folded.onnx")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 3
        stage = "load"
        try:
            proto = model.copy()
            hide_constants(proto)  # onnxruntime folds no constant that a caller may override
            session = onnxruntime.InferenceSession(proto.SerializeToString(), options,
                                                   providers=["CPUExecutionProvider"])
            stage = "run"  # where shapes that do not fit show
            black = np.zeros([size or 1 for size in model.input_shape], np.float32)
            logits = session.run(None, {model.input_name: black})[0]
        except Exception as error:  # onnxruntime's own exceptions share no base class
            said = str(error).partition("\n")[0]
            raise ModelError(f"onnxruntime cannot {stage} it ({said or type(error).__name__})", where=path,
                             fix="check it with onnx.checker.check_model") from error
        if not isinstance(logits, np.ndarray) or logits.ndim < 2 or len(logits) != len(black):
            raise ModelError(f"output of shape {np.shape(logits)} for {len(black)} image(s); a classifier's is (batch, "
                             "classes)", where=path, fix="export the logits")
        folded = onnx.load(target)
    standard = [entry for entry in folded.opset_import if entry.domain in ("", "ai.onnx")]
    del folded.opset_import[:]
    folded.opset_import.extend(standard)  # it lists its own domains, used or not
    folded.ir_version = model.proto.ir_version
    return folded
