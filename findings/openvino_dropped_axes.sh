#!/bin/sh
# OpenVINO computes wrong numbers where an INT8 product of matrices is reduced over tokens and quantized again.
#
# Version   OpenVINO 2026.4.1 (x86-64 with AVX-512 VNNI), onnxruntime 1.31.1, onnx 1.23.2
# Behaviour A MatMul between Q/DQ pairs, its matrix with a scale for each output, perhaps a ReLU, then ReduceMean,
#           ReduceMax or ReduceSum with keepdims=0 over axes in front of the last one, and a Q/DQ pair: the answer is
#           unlike what the file says. So is a mean over tokens before a quantized classifier. With keepdims=1 and a
#           Squeeze behind it is right, and so are one scale for the whole matrix, a reduction over the last axis,
#           other reductions and a file without the last pair. Nothing is logged.
# Output    ReduceMean over axis 1, dropped: 12.6 dB
#           ReduceMax over axis 1, dropped: 13.3 dB
#           ReduceMean over axis 1, squeezed: 99.0 dB
#           ReduceMax over axis 1, squeezed: 99.0 dB
#           ReduceMean over axis 2, dropped: 99.0 dB
#           ReduceMin over axis 1, dropped: 99.0 dB
#           ReduceMean over axis 1, floats behind it: 99.0 dB
# Expected  The same numbers as onnxruntime's, but for a value on the edge of two steps.
# What to do  Write such a reduction with keepdims=1 and a Squeeze behind it, or leave what it makes in float.
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
TOKENS, INPUTS, OUTPUTS = 16, 48, 16
images = random.normal(size=(8, TOKENS, INPUTS)).astype(np.float32)
weights = (random.normal(size=(INPUTS, OUTPUTS)) / np.sqrt(INPUTS)).astype(np.float32)
core = openvino.Core()


def model(operator, axis, form):
    """`operator` over `axis` of an INT8 product; `form` is "dropped", "squeezed" or "floats behind it"."""
    node, steps = helper.make_node, np.abs(weights).max(0) / 127
    numbers = {"xs": np.float32(3 / 127), "xz": np.int8(0), "ws": steps, "wz": np.zeros(OUTPUTS, np.int8),
               "w": np.rint(weights / steps).astype(np.int8), "ys": np.float32(4 / 255), "yz": np.uint8(0),
               "axes": np.array([axis])}
    nodes = [node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]), node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
             node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=1), node("MatMul", ["xd", "wd"], ["p"]),
             node("Relu", ["p"], ["r"])]
    last = "y" if form == "floats behind it" else "m"
    kept = int(form == "squeezed")
    nodes.append(node(operator, ["r"], ["k" if kept else last], axes=[axis], keepdims=kept))
    if kept:
        nodes.append(node("Squeeze", ["k", "axes"], [last]))
    if last == "m":
        nodes += [node("QuantizeLinear", ["m", "ys", "yz"], ["q"]), node("DequantizeLinear", ["q", "ys", "yz"], ["y"])]
    graph = helper.make_graph(
        nodes, "tokens", [helper.make_tensor_value_info("x", TensorProto.FLOAT, images.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "c"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(made, full_check=True)
    return made.SerializeToString()


def decibels(content):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3  # not every form reads every constant
    written = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]).run(
        None, {"x": images})[0]
    own = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(images)[0]
    noise = float(np.sum((own - written) ** 2))
    return min(99.0, 10 * np.log10(float(np.sum(written**2)) / noise)) if noise else 99.0


CASES = [("ReduceMean", 1, "dropped", False), ("ReduceMax", 1, "dropped", False), ("ReduceMean", 1, "squeezed", True),
         ("ReduceMax", 1, "squeezed", True), ("ReduceMean", 2, "dropped", True), ("ReduceMin", 1, "dropped", True),
         ("ReduceMean", 1, "floats behind it", True)]
print("OpenVINO", openvino.__version__)
same = openvino.__version__.startswith("2026.4.1")
for operator, axis, form, right in CASES:
    found = decibels(model(operator, axis, form))
    print(f"{operator} over axis {axis}, {form}: {found:.1f} dB")
    same = same and (found > 30 if right else found < 20)
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
