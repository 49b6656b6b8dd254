#!/bin/sh
# A MaxPool that rounds its size up has windows of padding alone in OpenVINO, which answer with the lowest number.
#
# Version   OpenVINO 2026.4.1 (x86-64), onnxruntime 1.31.1, onnx 1.23.2
# Behaviour MaxPool with `ceil_mode` and `pads`, in float32, where one more window would begin in the padding behind the
#           image. PyTorch's `MaxPool2d`, which is exported so, has no such window, nor has onnxruntime, nor ONNX from
#           opset 22 on. OpenVINO has it, in opset 22, too, and answers -3.4e38 there; what averages or flattens the
#           result is spoilt. Its AveragePool has no such window. Below opset 22 onnx counts the window, so onnxruntime
#           warns of its own shape there, and does not load a Gemm that reads the flattened result.
# Output    13 by 13 zeros, windows of 2 by 2, stride 2, padding 1: onnxruntime 7 by 7 zeros, OpenVINO 8 by 8, of which
#           15 are -3.4e38; OpenVINO's AveragePool 7 by 7; a Gemm behind it in opset 17: onnxruntime does not load it
# Expected  The same 7 by 7 zeros: a window of nothing is no window.
# What to do  Write the pool without `ceil_mode`: with the same `pads` it has the same windows, where one would begin
#           behind the image; otherwise add to the `pads` at the end what the last window reaches beyond them.
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
from onnx import TensorProto, helper, numpy_helper

images = np.zeros((1, 1, 13, 13), np.float32)
core = openvino.Core()


def model(operator, opset, up=1, dense=False):
    """A pool of windows of 2 by 2; with a dense layer behind its 7 by 7 answers or not."""
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1] * 4} | ({"ceil_mode": 1} if up else {})
    nodes = [helper.make_node(operator, ["x"], ["a" if dense else "y"], **attributes)]
    if dense:
        nodes += [helper.make_node("Flatten", ["a"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["y"])]
    weights = numpy_helper.from_array(np.ones((49, 10), np.float32), "w")
    graph = helper.make_graph(
        nodes, "pool", [helper.make_tensor_value_info("x", TensorProto.FLOAT, images.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], [weights] if dense else [])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)]).SerializeToString()


def of_onnxruntime(content):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]).run(None, {"x": images})[0]


def of_openvino(content):
    return core.compile_model(core.read_model(content), "CPU")(images)[0]


def loads(content):
    try:
        of_onnxruntime(content)
    except Exception:
        return False
    return True


ok = True
for opset in (17, 22):
    there, here = of_onnxruntime(model("MaxPool", opset)), of_openvino(model("MaxPool", opset))
    print(f"opset {opset}: onnxruntime {there.shape[2:]}, OpenVINO {here.shape[2:]}, {(here < -3e38).sum()} x -3.4e38")
    ok &= there.shape[2:] == (7, 7) and not there.any() and here.shape[2:] == (8, 8) and (here < -3e38).sum() == 15
average = of_openvino(model("AveragePool", 22))
flat = of_openvino(model("MaxPool", 22, up=0))
print(f"OpenVINO's AveragePool {average.shape[2:]}, its MaxPool without ceil_mode {flat.shape[2:]}, {flat.min():g}")
ok &= average.shape[2:] == flat.shape[2:] == (7, 7) and not flat.any()
dense = {opset: loads(model("MaxPool", opset, dense=True)) for opset in (17, 22)}
print(f"onnxruntime loads a Gemm behind it: {dense}")
sys.exit(0 if ok and dense == {17: False, 22: True} else 1)
PY
