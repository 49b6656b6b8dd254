#!/bin/sh
# onnxruntime turns FP16 biases between FP16 scales into garbage, by the pass that makes them int32.
#
# Version   onnxruntime 1.31.1 (x86-64), onnx 1.23.2
# Behaviour A convolution between Q/DQ pairs whose scales and bias are FP16 (opset 19; what a quantizer with "floats in
#           FP16" writes) is rewritten at the default optimization level: WeightBiasQuantization divides the bias by the
#           product of the scales, and the quotient is FP16. What is above 65504 steps becomes infinite, and int32 of
#           that is anything. Small weights make it common: the step of a bias is then near the smallest FP16. Nothing is
#           logged, and OpenVINO is right.
# Output    largest bias 2,596 steps: 150.0 dB by default, 150.0 dB without the pass
#           largest bias 259,654 steps: -12.7 dB by default, 150.0 dB without the pass
# Expected  That a pass which cannot represent a bias leaves it as it is, or computes in float32.
# What to do  Make the session with disabled_optimizers=["WeightBiasQuantization"], or keep scales and biases in FP32.
#
# Exits 0 while this is so, 1 when it has changed.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
PYTHONPATH=$folder python3 - <<'PY'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper

random = np.random.default_rng(0)
images = random.normal(size=(1, 3, 8, 8)).astype(np.float16)
integers = random.integers(-127, 128, (8, 3, 3, 3)).astype(np.int8)
bias = np.linspace(-2, 2, 8).astype(np.float16)
PASS = "WeightBiasQuantization"


def model(step):
    """A convolution in INT8 whose weights have steps of `step`; all floats are FP16."""
    half, node = TensorProto.FLOAT16, helper.make_node
    numbers = {"xs": np.float16(0.02), "xz": np.int8(0), "w": integers, "ws": np.full(8, step, np.float16),
               "wz": np.zeros(8, np.int8), "b": bias, "ys": np.float16(0.05), "yz": np.int8(0)}
    graph = helper.make_graph(
        [node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]), node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
         node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0), node("Conv", ["xd", "wd", "b"], ["f"]),
         node("QuantizeLinear", ["f", "ys", "yz"], ["fq"]), node("DequantizeLinear", ["fq", "ys", "yz"], ["y"])],
        "layer", [helper.make_tensor_value_info("x", half, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", half, [1, 8, 6, 6])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    checker.check_model(made, full_check=True)
    return made.SerializeToString()


def answer(content, written=False, without=()):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if written:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"],
                                           disabled_optimizers=list(without))
    return session.run(None, {"x": images})[0].astype(np.float64)


def decibels(right, found):
    return min(150.0, 10 * np.log10((right**2).sum() / max(((right - found) ** 2).sum(), 1e-30)))


print("onnxruntime", onnxruntime.__version__)
found = []
for step in (0.0385, 0.000385):
    content = model(step)
    right = answer(content, written=True)
    default, without = decibels(right, answer(content)), decibels(right, answer(content, without=[PASS]))
    steps = 2 / (np.float16(0.02).astype(float) * np.float16(step).astype(float))
    print(f"largest bias {steps:,.0f} steps: {default:.1f} dB by default, {without:.1f} dB without the pass")
    found.append((default, without))
same = onnxruntime.__version__ == "1.31.1" and found[0][0] > 30 and found[1][0] < 10 and min(
    pair[1] for pair in found) > 60
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
