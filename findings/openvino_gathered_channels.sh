#!/bin/sh
# A convolution of OpenVINO computes wrong numbers from a Gather of channels whose integers have the zero point 0.
#
# Version   OpenVINO 2026.4.1 (x86-64 with AVX-512 VNNI), onnxruntime 1.31.1, onnx 1.23.2
# Behaviour A Gather along axis 1 puts channels in another order, then a Q/DQ pair and a convolution with int8 weights.
#           With zero point 0, int8 or uint8, the output is unlike what the file says, also where a ReLU or a Sigmoid
#           stands between. With any other zero point, and for a Gather of rows, it is right. Nothing is logged.
# Output    channels, int8, zero point 0: -0.1 dB
#           channels, uint8, zero point 0: -0.1 dB
#           channels, uint8, zero point 1: 126.4 dB
#           rows, uint8, zero point 0: 125.9 dB
# Expected  The same numbers as onnxruntime's, but for a value on the edge of two steps.
# What to do  Quantize what such a Gather makes with a zero point, if only of 1; or put the order into the weights.
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

random = np.random.default_rng(1)
images = random.normal(size=(1, 4, 4, 4)).astype(np.float32)
weights = random.integers(-127, 128, (4, 4, 1, 1)).astype(np.int8)
core = openvino.Core()


def model(point, axis):
    """A ReLU, a Gather along `axis`, a pair with the zero point `point` and a convolution."""
    node = helper.make_node
    numbers = {"order": np.array([3, 1, 0, 2]), "step": np.float32(0.02), "point": point, "w": weights,
               "steps": np.full(4, 0.003, np.float32), "zeros": np.zeros(4, np.int8)}
    nodes = [node("Relu", ["x"], ["r"]), node("Gather", ["r", "order"], ["g"], axis=axis),
             node("QuantizeLinear", ["g", "step", "point"], ["q"]),
             node("DequantizeLinear", ["q", "step", "point"], ["d"]),
             node("DequantizeLinear", ["w", "steps", "zeros"], ["wd"], axis=0), node("Conv", ["d", "wd"], ["y"])]
    graph = helper.make_graph(
        nodes, "block", *([helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 4, 4])] for name in "xy"),
        [numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(made, full_check=True)
    return made.SerializeToString()


def decibels(point, axis):
    content, options = model(point, axis), onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    right = session.run(None, {"x": images})[0]
    found = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(images)[0]
    return 10 * np.log10((right**2).sum() / max(((right - found) ** 2).sum(), 1e-12))


print("OpenVINO", openvino.__version__, "onnxruntime", onnxruntime.__version__)
found = {"channels, int8, zero point 0": decibels(np.int8(0), 1),
         "channels, uint8, zero point 0": decibels(np.uint8(0), 1),
         "channels, uint8, zero point 1": decibels(np.uint8(1), 1), "rows, uint8, zero point 0": decibels(np.uint8(0), 2)}
for name, value in found.items():
    print(f"{name}: {value:.1f} dB")
*wrong, with_point, rows = found.values()
same = openvino.__version__.startswith("2026.4.1") and max(wrong) < 10 and min(with_point, rows) > 30
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
