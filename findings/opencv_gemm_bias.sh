#!/bin/sh
# OpenCV 5 refuses a quantized Gemm whose bias is int32, the form that onnxruntime's quantizer writes.
#
# Version   opencv-python-headless 5.0.0.93 (x86-64), onnx 1.23.2, onnxruntime 1.31.1
# Behaviour DequantizeLinear, Gemm, QuantizeLinear become one integer layer (MatMulInt8) in the new engine where the
#           bias is float or missing. With an int32 bias behind a DequantizeLinear, `readNetFromONNX` throws. A
#           convolution with such a bias becomes Conv2Int8. Without the QuantizeLinear the Gemm loads and is float.
# Output    Gemm, int32 bias: refused (bufidx >= 0);  float bias, no bias: MatMulInt8
#           Conv, int32 bias: Conv2Int8;  Gemm, int32 bias, float output: Gemm
# Expected  That the bias is added as int32, as in a convolution, or that the layer stays float. onnxruntime runs all.
# What to do  Keep the last layer in float, or write its bias as float.
#
# Exits 0 while this is so, 1 when it has changed.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" opencv-python-headless==5.0.0.93 onnx==1.23.2 onnxruntime==1.31.1 \
    numpy==2.4.6
PYTHONPATH=$folder python3 - <<'PY'
import sys

import cv2
import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper

OUTPUTS, INPUTS = 10, 16
random = np.random.default_rng(0)


def model(operator, bias, quantized_output=True):
    sides = [1, 1] if operator == "Conv" else []
    weights = random.integers(-127, 128, (OUTPUTS, INPUTS, *sides)).astype(np.int8)
    nodes = [helper.make_node("QuantizeLinear", ["x", "fine", "zero"], ["x_q"]),
             helper.make_node("DequantizeLinear", ["x_q", "fine", "zero"], ["x_d"]),
             helper.make_node("DequantizeLinear", ["w", "step", "w_zero"], ["weights"])]
    inputs = ["x_d", "weights"]
    if bias == "int32":
        nodes.append(helper.make_node("DequantizeLinear", ["b", "b_step", "b_zero"], ["bias"]))
    if bias is not None:
        inputs.append("bias" if bias == "int32" else "float_bias")
    attributes = {"transB": 1} if operator == "Gemm" else {}
    nodes.append(helper.make_node(operator, inputs, ["y"], **attributes))
    if quantized_output:
        nodes += [helper.make_node("QuantizeLinear", ["y", "coarse", "zero"], ["y_q"]),
                  helper.make_node("DequantizeLinear", ["y_q", "coarse", "zero"], ["z"])]
    constants = {"fine": np.float32(0.05), "coarse": np.float32(0.1), "zero": np.uint8(128), "step": np.float32(0.01),
                 "w": weights, "w_zero": np.int8(0), "b": np.arange(OUTPUTS, dtype=np.int32),
                 "b_step": np.float32(0.05) * np.float32(0.01), "b_zero": np.int32(0),
                 "float_bias": np.ones(OUTPUTS, np.float32)}
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes, "layer", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", INPUTS, *sides])],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, ["n", OUTPUTS, *sides])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items() if name in read])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(made, full_check=True)
    content = made.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    session.run(None, {"x": np.ones((1, INPUTS, *sides), np.float32)})  # it is valid, and runs elsewhere
    return np.frombuffer(content, np.uint8)


def layer_of(*how):
    try:
        net = cv2.dnn.readNetFromONNX(model(*how), cv2.dnn.ENGINE_NEW)
    except cv2.error as error:
        return f"refused ({error.err})"
    types = [net.getLayer(index).type for index in range(len(net.getLayerNames()))]
    return next(kind for kind in types if kind.startswith(("Gemm", "MatMul", "Conv")))


print("opencv", cv2.__version__)
described = {("Gemm", "int32"): "refused (bufidx >= 0)", ("Gemm", "float"): "MatMulInt8", ("Gemm", None): "MatMulInt8",
             ("Conv", "int32"): "Conv2Int8", ("Gemm", "int32", False): "Gemm"}
found = {how: layer_of(*how) for how in described}
for (operator, bias, *floats), layer in found.items():
    print(f"{operator}, {bias or 'no'} bias{', float output' if floats else ''}: {layer}")
print("as described" if found == described else "CHANGED")
sys.exit(0 if found == described else 1)
PY
