#!/bin/sh
# An AveragePool of OpenVINO that counts its padding and rounds its size up divides its last windows by too much.
#
# Version   OpenVINO 2026.4.1 (x86-64), onnxruntime 1.31.1, onnx 1.23.2
# Behaviour AveragePool with `ceil_mode`, `count_include_pad` and `pads`, in float32, where the last window reaches over
#           the padded end. PyTorch and onnxruntime divide its sum by the places inside the padded image, OpenVINO by
#           all of the window. Without padding, or where nothing is rounded up, they agree. Nothing is logged.
# Output    9 by 9 ones, windows of 3 by 3, stride 3, padding 1; the last row of means:
#           onnxruntime 0.333 0.5 0.5 0.25, OpenVINO 0.222 0.333 0.333 0.111
# Expected  The same numbers: the mode is PyTorch's, whose `AvgPool2d` exports to it.
# What to do  Put the padding into a Pad node, or write the places beyond the end as `pads` without
#           `count_include_pad`: both are right in each of them.
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

images = np.ones((1, 1, 9, 9), np.float32)
core = openvino.Core()


def model(kernel, stride, pad, node=False):
    """An average that rounds up, its padding counted; in a `node` of its own or not."""
    attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "ceil_mode": 1, "count_include_pad": 1}
    pads = np.array([0, 0, pad, pad] * 2)
    nodes = [helper.make_node("Pad", ["x", "pads"], ["padded"]),
             helper.make_node("AveragePool", ["padded"], ["y"], **attributes)] if node else [
                 helper.make_node("AveragePool", ["x"], ["y"], pads=[pad] * 4, **attributes)]
    size = -(-(9 + 2 * pad - kernel) // stride) + 1
    graph = helper.make_graph(
        nodes, "pool", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 9, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, size, size])],
        [numpy_helper.from_array(pads, "pads")] if node else [])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(made, full_check=True)
    return made.SerializeToString()


def last_rows(content):
    """The last row of means: onnxruntime's and OpenVINO's."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    compiled = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return session.run(None, {"x": images})[0][0, 0, -1], np.array(compiled({0: images})[0])[0, 0, -1]


print("onnxruntime", onnxruntime.__version__, "OpenVINO", openvino.__version__)
rounded, exact, own = last_rows(model(3, 3, 1)), last_rows(model(3, 2, 1)), last_rows(model(3, 3, 1, node=True))
for name, (first, second) in (("rounded up", rounded), ("not rounded", exact), ("a Pad node", own)):
    print(f"{name}: onnxruntime {np.round(first, 3)}, OpenVINO {np.round(second, 3)}")
same = (openvino.__version__.startswith("2026.4.1") and np.abs(rounded[0] - rounded[1]).max() > 0.1
        and np.allclose(*exact, atol=1e-6) and np.allclose(*own, atol=1e-6))
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
