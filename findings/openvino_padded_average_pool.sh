#!/bin/sh
# An AveragePool of integers in OpenVINO pads with the integer 0, whatever the zero point is.
#
# Version   OpenVINO 2026.4.1 (x86-64), onnxruntime 1.31.1, onnx 1.23.2
# Behaviour A Q/DQ pair of uint8 with zero point 128, an AveragePool with `count_include_pad`, and an INT8 convolution:
#           the border is averaged with the smallest value of the range instead of 0, and the answer is unlike what the
#           file says. The same happens through MaxPool, Transpose, Concat or a product with a constant, and where the
#           zeros come from a Pad node. int8 with zero point 0 is right alone, and as wrong where an INT8 convolution
#           reads the same pair, since OpenVINO then makes it uint8 with a zero point. uint8 with zero point 0 is right.
#           Nothing is logged.
# Output    uint8, zero point 128, padding counted: -12.7 dB
#           the zeros of a Pad: -12.7 dB
#           int8 that a convolution reads, too: -0.8 dB
#           int8, zero point 0: 144.0 dB
#           a Pad with 1e-30: 144.0 dB
#           a Pad with 1e-30, int8 that a convolution reads, too: 142.1 dB
# Expected  The same numbers as onnxruntime's, but for a value on the edge of two steps.
# What to do  Put the padding into a Pad node whose value is next to zero: OpenVINO then averages floats.
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
images = random.normal(size=(1, 8, 9, 9)).astype(np.float32)
weights = random.integers(-127, 128, (8, 8, 1, 1)).astype(np.int8)
core = openvino.Core()


def model(kind, value=None, shared=False):
    """A pair of type `kind`, an average that counts its padding, or that of a Pad with `value`, a pair, a convolution.

    The convolution reads the first pair, too, where it is `shared`.
    """
    node, own = helper.make_node, value is None
    numbers = {"s": np.float32(0.03), "z": kind(128 if kind == np.uint8 else 0), "w": weights,
               "ws": np.full(8, 0.02, np.float32), "wz": np.zeros(8, np.int8)}
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["d"])]
    if not own:
        numbers |= {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "value": np.float32(value)}
        nodes.append(node("Pad", ["d", "pads", "value"], ["p"]))
    nodes += [node("AveragePool", ["d" if own else "p"], ["a"], kernel_shape=[3, 3], strides=[1, 1],
                   pads=[int(own)] * 4, count_include_pad=1),
              node("QuantizeLinear", ["a", "s", "z"], ["aq"]), node("DequantizeLinear", ["aq", "s", "z"], ["ad"]),
              node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0), node("Conv", ["ad", "wd"], ["y1" if shared else "y"])]
    if shared:
        nodes += [node("Conv", ["d", "wd"], ["y2"]), node("Add", ["y1", "y2"], ["y"])]
    shape = [1, 8, 9, 9]
    graph = helper.make_graph(
        nodes, "block", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(number), name) for name, number in numbers.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(made, full_check=True)
    return made.SerializeToString()


def decibels(content):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    right = session.run(None, {"x": images})[0]
    found = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(images)[0]
    return 10 * np.log10((right**2).sum() / max(((right - found) ** 2).sum(), 1e-12))


print("OpenVINO", openvino.__version__, "onnxruntime", onnxruntime.__version__)
found = {"uint8, zero point 128, padding counted": decibels(model(np.uint8)),
         "the zeros of a Pad": decibels(model(np.uint8, 0)),
         "int8 that a convolution reads, too": decibels(model(np.int8, shared=True)),
         "int8, zero point 0": decibels(model(np.int8)), "a Pad with 1e-30": decibels(model(np.uint8, 1e-30)),
         "a Pad with 1e-30, int8 that a convolution reads, too": decibels(model(np.int8, 1e-30, shared=True))}
for name, value in found.items():
    print(f"{name}: {value:.1f} dB")
*wrong, first, second, third = found.values()
same = openvino.__version__.startswith("2026.4.1") and max(wrong) < 10 and min(first, second, third) > 60
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
