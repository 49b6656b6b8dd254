#!/bin/sh
# onnxruntime's quantizer loses a ReLU whose result was zero on every calibration image, in int8.
#
# Version   onnxruntime 1.31.1, onnx 1.23.2
# Behaviour `quantize_static` (QDQ, int8 activations with a free zero point) takes a ReLU out and lets the pair behind it
#           clip: the zero point is -128, so nothing below zero passes. Where the ReLU stopped everything on the
#           calibration images, its range is (0, 0), and the pair gets the scale 1 and the zero point 0: all that the
#           ReLU stops passes, in steps of 1. Nothing is logged. uint8 is right by chance, since its zero point 0 clips.
#           Silent ReLUs are common in squeeze-and-excitation blocks: a few units read means that hardly vary.
# Output    uint8: FP32 0.0, INT8 0.0
#           int8: FP32 0.0, INT8 -4.0
# Expected  What a ReLU stops stays stopped.
# What to do  Give such ranges a width before quantizing, or keep the ReLU (`QDQKeepRemovableActivations`).
#
# Exits 0 while this is so, 1 when it has changed.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
PYTHONPATH=$folder FOLDER=$folder python3 - <<'PY'
import logging
import os
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

logging.disable(logging.WARNING)
images = np.random.default_rng(0).random((1, 3, 8, 8)).astype(np.float32)
constants = {"w": np.full((4, 3, 1, 1), -1, np.float32), "b": np.full(4, -1.5, np.float32)}
graph = helper.make_graph(
    [helper.make_node("Conv", ["x", "w", "b"], ["c"], "c"), helper.make_node("Relu", ["c"], ["y"], "y")], "net",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
    [numpy_helper.from_array(value, name) for name, value in constants.items()])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model, full_check=True)
source, target = (os.path.join(os.environ["FOLDER"], name) for name in ("net.onnx", "int8.onnx"))
onnx.save(model, source)


class Reader(CalibrationDataReader):
    def __init__(self):
        self.left = [{"x": images}]

    def get_next(self):
        return self.left.pop() if self.left else None


def least(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return float(session.run(None, {"x": images})[0].min())


print("onnxruntime", onnxruntime.__version__)
found = {}
for kind in (QuantType.QUInt8, QuantType.QInt8):
    quantize_static(source, target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=kind,
                    weight_type=QuantType.QInt8)
    found[kind] = least(target)
    print(f"{'uint8' if kind == QuantType.QUInt8 else 'int8'}: FP32 {least(source)}, INT8 {found[kind]}")
same = (onnxruntime.__version__ == "1.31.1" and least(source) == found[QuantType.QUInt8] == 0
        and found[QuantType.QInt8] < -1)
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
