#!/bin/sh
# onnxruntime and OpenVINO take scales along the inputs of a layer for those of its outputs.
#
# Version   onnxruntime 1.31.1, OpenVINO 2026.4.1 (x86-64 with AVX-512 VNNI), onnx 1.23.2
# Behaviour The int8 weights of a layer between Q/DQ pairs have a scale for each input, not for each output: `axis` of
#           their DequantizeLinear says so. onnxruntime's integer kernels read them as scales of the outputs where there
#           are as many of both, silently, and OpenVINO does for MatMul and Gemm however many there are. Where the counts
#           differ onnxruntime fails as it runs. So it does for a stack of matrices with any axis, and OpenVINO computes
#           wrong numbers from one with scales of its outputs and signed data.
# Output    Gemm, 16 x 16, scales of outputs: onnxruntime 99.0 dB, OpenVINO 99.0 dB
#           Gemm, 16 x 16, scales of inputs: onnxruntime -0.0 dB, OpenVINO 0.2 dB
#           MatMul, 16 x 16, scales of inputs: onnxruntime -1.4 dB, OpenVINO 0.1 dB
#           MatMul, 16 x 24, scales of inputs: onnxruntime fails, OpenVINO 0.2 dB
#           Conv, 16 to 16, scales of inputs: onnxruntime -1.6 dB, OpenVINO 99.0 dB
#           Conv, 16 to 24, scales of inputs: onnxruntime fails, OpenVINO 99.0 dB
#           MatMul, 4 x 8 x 6, one scale: onnxruntime 99.0 dB, OpenVINO 99.0 dB
#           MatMul, 4 x 8 x 6, scales of inputs: onnxruntime fails, OpenVINO 99.0 dB
#           MatMul, 4 x 8 x 6, scales of outputs: onnxruntime fails, OpenVINO 0.6 dB
# Expected  That an integer kernel is taken only where the axis is that of the outputs, or the right numbers in float.
#           onnxruntime's own quantizer writes such files: of a matrix that two layers read, one of them transposed, with
#           the axis of the last one, and of a stack of matrices with axis 1, which is that of the inputs.
# What to do  Give each layer a copy of the weights with scales of its own outputs, and a stack of matrices one scale.
#
# Exits 0 while this is so, 1 when it has changed.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" onnxruntime==1.31.1 onnx==1.23.2 openvino==2026.4.1 numpy==2.4.6
PYTHONPATH=$folder python3 - <<'PY'
import sys

import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, checker, helper, numpy_helper

random = np.random.default_rng(0)
core = openvino.Core()
IN_SCALE = np.float32(4 / 127)


def model(operator, shape, weights, axis):
    """`operator` of signed int8 data of `shape` and int8 weights with scales along `axis` (None: one for all)."""
    others = tuple(place for place in range(weights.ndim) if place != axis)
    scale = np.asarray(np.abs(weights).max(None if axis is None else others) / 127, np.float32)
    along = [1] * weights.ndim
    if axis is not None:
        along[axis] = -1
    numbers = {"xs": IN_SCALE, "xz": np.int8(0), "ws": scale, "wz": np.zeros(scale.shape, np.int8),
               "w": np.rint(weights / (scale.reshape(along) if axis is not None else scale)).astype(np.int8)}
    node = helper.make_node
    nodes = [node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]), node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
             node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], **({} if axis is None else {"axis": axis})),
             node(operator, ["xd", "wd"], ["f"]),
             node("QuantizeLinear", ["f", "ys", "xz"], ["fq"]), node("DequantizeLinear", ["fq", "ys", "xz"], ["y"])]
    numbers["ys"] = np.float32(6 * np.abs(weights).mean() * np.sqrt(weights.size / weights.shape[-1]) / 127)
    graph = helper.make_graph(
        nodes, "layer", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["?"] * len(shape))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(made, full_check=True)
    return made.SerializeToString()


def in_onnxruntime(content, images, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = level, 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]).run(None, {"x": images})[0]


def in_openvino(content, images):
    return core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(images)[0]


def tell(written, run):
    """Decibels against the file as it is written, at most 99; None where it does not run."""
    try:
        noise = float(np.sum((run() - written) ** 2))
    except Exception:  # each runtime has kinds of its own
        return None
    return min(99.0, 10 * np.log10(float(np.sum(written**2)) / noise)) if noise else 99.0


def unalike(*shape, axis):
    """Weights whose scales along `axis` differ a hundredfold."""
    sizes = [1] * len(shape)
    sizes[axis] = -1
    return random.normal(size=shape).astype(np.float32) * np.logspace(-1.5, 0.5, shape[axis]).reshape(sizes)


WRONG, RIGHT, FAILS = "wrong", "right", "fails"
CASES = [  # operator, shape of the data, weights, axis of the scales, what onnxruntime and OpenVINO make of it
    ("Gemm, 16 x 16, scales of outputs", "Gemm", (4, 16), unalike(16, 16, axis=1), 1, RIGHT, RIGHT),
    ("Gemm, 16 x 16, scales of inputs", "Gemm", (4, 16), unalike(16, 16, axis=0), 0, WRONG, WRONG),
    ("MatMul, 16 x 16, scales of inputs", "MatMul", (4, 16), unalike(16, 16, axis=0), 0, WRONG, WRONG),
    ("MatMul, 16 x 24, scales of inputs", "MatMul", (4, 16), unalike(16, 24, axis=0), 0, FAILS, WRONG),
    ("Conv, 16 to 16, scales of inputs", "Conv", (4, 16, 4, 4), unalike(16, 16, 1, 1, axis=1), 1, WRONG, RIGHT),
    ("Conv, 16 to 24, scales of inputs", "Conv", (4, 16, 4, 4), unalike(24, 16, 1, 1, axis=1), 1, FAILS, RIGHT),
    ("MatMul, 4 x 8 x 6, one scale", "MatMul", (2, 4, 5, 8), unalike(4, 8, 6, axis=2), None, RIGHT, RIGHT),
    ("MatMul, 4 x 8 x 6, scales of inputs", "MatMul", (2, 4, 5, 8), unalike(4, 8, 6, axis=1), 1, FAILS, RIGHT),
    ("MatMul, 4 x 8 x 6, scales of outputs", "MatMul", (2, 4, 5, 8), unalike(4, 8, 6, axis=2), 2, FAILS, WRONG)]

print("onnxruntime", onnxruntime.__version__, "OpenVINO", openvino.__version__)
levels = onnxruntime.GraphOptimizationLevel
same = onnxruntime.__version__ == "1.31.1" and openvino.__version__.startswith("2026.4.1")
for name, operator, shape, weights, axis, *expected in CASES:
    content, images = model(operator, shape, weights, axis), random.normal(size=shape).astype(np.float32)
    written = in_onnxruntime(content, images, levels.ORT_DISABLE_ALL)
    told = [tell(written, lambda: in_onnxruntime(content, images, levels.ORT_ENABLE_ALL)),
            tell(written, lambda: in_openvino(content, images))]
    print(f"{name}:", ", ".join(f"{runtime} {'fails' if value is None else f'{value:.1f} dB'}"
                                for runtime, value in zip(("onnxruntime", "OpenVINO"), told)))
    same = same and expected == [FAILS if value is None else WRONG if value < 12 else RIGHT if value > 30 else "unclear"
                                 for value in told]
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
