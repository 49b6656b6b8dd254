#!/bin/sh
# A convolution of OpenVINO computes wrong numbers from a Concat in symmetric int8.
#
# Version   OpenVINO 2026.4.1 (x86-64 with AVX-512 VNNI), onnxruntime 1.31.1, onnx 1.23.2
# Behaviour Two branches, a Concat, a Q/DQ pair and a convolution with int8 weights: with int8 and zero point 0, the
#           output is unlike what the file says. The pair, and each branch, are right when asked for; only the
#           convolution behind them is wrong. The same graph with uint8 and zero point 128, which holds the very same
#           numbers, is right, and so is int8 without the Concat. Nothing is logged.
# Output    int8 behind a Concat: 2.5 dB
#           uint8 behind a Concat: 132.9 dB
#           int8 behind one branch: 135.5 dB
# Expected  The same numbers as onnxruntime's, but for a value on the edge of two steps.
# What to do  Quantize what a Concat makes as uint8 with a zero point.
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
images = random.normal(size=(1, 3, 8, 8)).astype(np.float32)
core = openvino.Core()


def model(kind, join):
    """Branches `a` and `b`, their Concat `k`, a pair of type `kind` and a convolution; one branch without `join`."""
    node, float32, width = helper.make_node, TensorProto.FLOAT, 8 if join else 16
    numbers = {"s": np.float32(0.02), "z": kind(128 if kind == np.uint8 else 0)}
    nodes = []
    for name, source, shape in (("a", "x", (width, 3, 1, 1)), ("b", "x", (width, 3, 1, 1)), ("y", "kd", (4, 16, 1, 1))):
        numbers |= {f"{name}w": random.integers(-127, 128, shape).astype(np.int8),
                    f"{name}s": np.full(shape[0], 0.003, np.float32), f"{name}z": np.zeros(shape[0], np.int8)}
        nodes += [node("DequantizeLinear", [f"{name}w", f"{name}s", f"{name}z"], [f"{name}d"], axis=0),
                  node("Conv", [source, f"{name}d"], [name])]
    middle = [node("Concat", ["a", "b"], ["k"], axis=1)] if join else [node("Identity", ["a"], ["k"])]
    pair = [node("QuantizeLinear", ["k", "s", "z"], ["kq"]), node("DequantizeLinear", ["kq", "s", "z"], ["kd"])]
    graph = helper.make_graph(
        [*nodes[:4], *middle, *pair, *nodes[4:]], "block", [helper.make_tensor_value_info("x", float32, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", float32, [1, 4, 8, 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(made, full_check=True)
    return made.SerializeToString()


def decibels(kind, join):
    content, options = model(kind, join), onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    right = session.run(None, {"x": images})[0]
    found = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(images)[0]
    return 10 * np.log10((right**2).sum() / max(((right - found) ** 2).sum(), 1e-12))


print("OpenVINO", openvino.__version__, "onnxruntime", onnxruntime.__version__)
found = {"int8 behind a Concat": decibels(np.int8, True), "uint8 behind a Concat": decibels(np.uint8, True),
         "int8 behind one branch": decibels(np.int8, False)}
for name, value in found.items():
    print(f"{name}: {value:.1f} dB")
wrong, *right = found.values()
same = openvino.__version__.startswith("2026.4.1") and wrong < 10 and min(right) > 30
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
