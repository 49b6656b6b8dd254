#!/bin/sh
# OpenVINO makes ReduceL1, ReduceLogSum and ReduceLogSumExp below opset 18 over all axes, whatever their axes are.
#
# Version   OpenVINO 2026.4.1 (x86-64), onnxruntime 1.31.1, onnx 1.23.2
# Behaviour Where these three have their axes as an attribute, as up to opset 17, OpenVINO reduces to one number. With
#           keepdims the number is broadcast by what reads it, so the network runs, and answers wrongly; nothing is
#           logged. From opset 18 on, where axes are an input, it is right. Other reductions are right in both.
# Output    axes [1] of (1, 4, 3, 3), opset 17: ReduceL1, ReduceLogSum, ReduceLogSumExp (1, 1, 1, 1) instead of
#           (1, 1, 3, 3); the other seven as onnxruntime. Opset 18: all ten as onnxruntime
# Expected  What the attribute says. Traced at opset 17, the latest that TensorRT 8.5 reads, PyTorch's logsumexp and
#           1-norm are such nodes.
# What to do  Write Abs and ReduceSum for ReduceL1, ReduceSum and Log for ReduceLogSum, and for ReduceLogSumExp the
#           same of exponentials, with their largest taken out; or export at opset 18 for OpenVINO.
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

images = np.random.default_rng(0).random((1, 4, 3, 3), np.float32) + 0.1
core = openvino.Core()
LOST = ["ReduceL1", "ReduceLogSum", "ReduceLogSumExp"]
KINDS = [*LOST, "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"]


def model(kind, opset):
    listed = opset >= 18 or kind == "ReduceSum"  # the axes are an input
    inputs, attribute = (["x", "axes"], {}) if listed else (["x"], {"axes": [1]})
    node = helper.make_node(kind, inputs, ["y"], keepdims=1, **attribute)
    graph = helper.make_graph(
        [node], "reduction", [helper.make_tensor_value_info("x", TensorProto.FLOAT, images.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 3, 3])],
        [numpy_helper.from_array(np.array([1]), "axes")] if listed else [])
    made = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])
    checker.check_model(made, full_check=True)
    return made.SerializeToString()


wrong = {17: [], 18: []}
for opset, kinds in wrong.items():
    for kind in KINDS:
        content = model(kind, opset)
        there = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"x": images})[0]
        here = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(images)[0]
        if there.shape != here.shape or not np.allclose(there, here, rtol=1e-4):
            kinds.append(kind)
            print(f"opset {opset}, {kind}: onnxruntime {there.shape}, OpenVINO {here.shape}")
    print(f"opset {opset}: the other {len(KINDS) - len(kinds)} agree")
sys.exit(0 if wrong == {17: LOST, 18: []} else 1)
PY
