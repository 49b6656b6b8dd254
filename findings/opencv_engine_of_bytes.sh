#!/bin/sh
# OpenCV 5 ignores the engine that is asked for where the model comes as bytes, and runs Q/DQ files in other numbers.
#
# Version   opencv-python-headless 5.0.0.93 (x86-64), onnx 1.23.2
# Behaviour `readNetFromONNX(path, ENGINE_CLASSIC)` gives the classic engine, whose convolutions are float.
#           `readNetFromONNX(bytes, ENGINE_CLASSIC)` gives the new one, with integer convolutions, without a word. The
#           variable OPENCV_FORCE_DNN_ENGINE=1 holds for both.
# Output    path, classic: Convolution;  bytes, classic: Conv2Int8;  bytes, classic, variable: Convolution
# Expected  That one argument means one engine, as the documentation of both overloads says.
# What to do  Read from a file, or set the variable; look at `net.getLayerTypes()` before comparing engines.
#
# Exits 0 while this is so, 1 when it has changed.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" opencv-python-headless==5.0.0.93 onnx==1.23.2 numpy==2.4.6
cat >"$folder/engines.py" <<'PY'
import sys

import cv2
import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

CHANNELS = 16
constants = {"fine": np.float32(0.05), "zero": np.uint8(128), "step": np.float32(0.01), "w_zero": np.int8(0),
             "w": np.random.default_rng(0).integers(-127, 128, (CHANNELS, CHANNELS, 3, 3)).astype(np.int8)}
nodes = [helper.make_node("QuantizeLinear", ["x", "fine", "zero"], ["x_q"]),
         helper.make_node("DequantizeLinear", ["x_q", "fine", "zero"], ["x_d"]),
         helper.make_node("DequantizeLinear", ["w", "step", "w_zero"], ["weights"]),
         helper.make_node("Conv", ["x_d", "weights"], ["y"], pads=[1, 1, 1, 1]),
         helper.make_node("QuantizeLinear", ["y", "fine", "zero"], ["y_q"]),
         helper.make_node("DequantizeLinear", ["y_q", "fine", "zero"], ["z"])]
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, CHANNELS, 8, 8]) for name in ("x", "z")]
graph = helper.make_graph(nodes, "layer", ends[:1], ends[1:],
                          [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
checker.check_model(made, full_check=True)
path = sys.argv[1]
with open(path, "wb") as file:
    file.write(made.SerializeToString())
for source in (path, np.fromfile(path, np.uint8)):
    net = cv2.dnn.readNetFromONNX(source, cv2.dnn.ENGINE_CLASSIC)
    print(next(kind for kind in net.getLayerTypes() if kind.startswith("Conv")))
PY
found=$(PYTHONPATH=$folder python3 "$folder/engines.py" "$folder/layer.onnx")
forced=$(PYTHONPATH=$folder OPENCV_FORCE_DNN_ENGINE=1 python3 "$folder/engines.py" "$folder/layer.onnx")
echo "path, bytes:" $found
echo "path, bytes, with OPENCV_FORCE_DNN_ENGINE=1:" $forced
if [ "$(echo $found $forced)" = "Convolution Conv2Int8 Convolution Convolution" ]; then
    echo "as described"
else
    echo "CHANGED"
    exit 1
fi
