#!/bin/sh
# OpenVINO drops the ReLU that a 16-bit Q/DQ pair carries in its range.
#
# Version   OpenVINO 2026.4.1 (x86-64), onnxruntime 1.31.1, onnx 1.23.2
# Behaviour A quantizer folds ReLU into the pair behind it: with zero point 0 and an unsigned type, QuantizeLinear clips
#           everything below zero. OpenVINO's CPU plugin removes 16-bit pairs (it has no 16-bit kernels) with their
#           clipping, so negative values go on. The same file with uint8 in place of uint16 is right, and so is
#           onnxruntime with either. Nothing is logged, at any precision hint.
# Output    uint8: smallest output 0.00 in onnxruntime, 0.00 in OpenVINO (143.3 dB)
#           uint16: smallest output 0.00 in onnxruntime, -2.82 in OpenVINO (-0.4 dB)
# Expected  That removing a pair which cannot be computed in integers keeps what it does to the range: a Clamp.
# What to do  Keep ReLU as a node of its own in files with 16-bit activations, or give OpenVINO 8 bits.
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
images = random.normal(size=(1, 3, 8, 8)).astype(np.float32)
weights = (random.normal(size=(8, 3, 3, 3)) * 0.2).astype(np.float32)
core = openvino.Core()


def model(kind):
    """A convolution, its ReLU folded into the unsigned pair behind it."""
    steps, middle = (255, 128) if kind == np.uint8 else (65535, 32768)
    numbers = {"w": weights, "xs": np.float32(9 / steps), "xz": kind(middle), "ys": np.float32(5 / steps),
               "yz": kind(0)}
    node, float32 = helper.make_node, TensorProto.FLOAT
    graph = helper.make_graph(
        [node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]), node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
         node("Conv", ["xd", "w"], ["f"], pads=[1, 1, 1, 1]),
         node("QuantizeLinear", ["f", "ys", "yz"], ["fq"]), node("DequantizeLinear", ["fq", "ys", "yz"], ["y"])],
        "block", [helper.make_tensor_value_info("x", float32, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", float32, [1, 8, 8, 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    checker.check_model(made, full_check=True)
    return made.SerializeToString()


print("OpenVINO", openvino.__version__, "onnxruntime", onnxruntime.__version__)
same = openvino.__version__.startswith("2026.4.1")
for kind in (np.uint8, np.uint16):
    content = model(kind)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    right = session.run(None, {"x": images})[0]
    found = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(images)[0]
    decibels = 10 * np.log10((right**2).sum() / max(((right - found) ** 2).sum(), 1e-12))
    print(f"{kind.__name__}: smallest output {right.min():.2f} in onnxruntime, {found.min():.2f} in OpenVINO "
          f"({decibels:.1f} dB)")
    same = same and right.min() == 0 and (found.min() == 0 if kind == np.uint8 else found.min() < -2)
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
