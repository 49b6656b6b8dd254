#!/bin/sh
# onnxruntime's quantizer coarsens the bias of an output channel whose weights are all zero.
#
# Version   onnxruntime 1.31.1 (x86-64), onnx 1.23.2
# Behaviour `quantize_static` with per_channel=True gives a channel without weights the weight scale 1. A bias is stored in
#           32 bits with the scale of the input times that of the weights: here steps of the input's own scale. Pruned
#           and vanished channels are constants that later layers read on every image, and each shifts by up to half
#           of an input step; with weights of 1e-12 in place of zero, the quantizer keeps the same bias to the bit.
# Output    input step 0.0314, bias 0.2590: 0.2510 with weights 0, 0.2590 with weights 1e-12
# Expected  That the scale of a channel without weights, which is free, is chosen so that its bias is kept.
# What to do  Before quantizing, give such channels one weight too small to matter.
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
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

logging.disable(logging.WARNING)
BIAS = 0.259
images = np.linspace(-4, 4, 3 * 8 * 8, dtype=np.float32).reshape(1, 3, 8, 8)


class Reader(CalibrationDataReader):
    def __init__(self):
        self.left = [{"x": images}]

    def get_next(self):
        return self.left.pop() if self.left else None


def stored_bias(weight):
    """(bias of the quantized file, step of its input)"""
    weights = np.full((2, 3, 1, 1), 0.01, np.float32)
    weights[0] = weight
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv")], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 8, 8])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([BIAS, 0], np.float32), "b")])
    plain, quantized = (os.path.join(os.environ["FOLDER"], name) for name in ("plain.onnx", "quantized.onnx"))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), plain)
    quantize_static(plain, quantized, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    model = onnx.load(quantized)
    values = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    made = {node.output[0]: node for node in model.graph.node}
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    bias = made[conv.input[2]]
    return float(values[bias.input[0]][0] * values[bias.input[1]][0]), float(values[made[conv.input[0]].input[1]])


empty, step = stored_bias(0)
tiny, _ = stored_bias(1e-12)
print(f"input step {step:.4f}, bias {BIAS:.4f}: {empty:.4f} with weights 0, {tiny:.4f} with weights 1e-12")
sys.exit(0 if abs(empty - BIAS) > step / 5 and abs(tiny - BIAS) < 1e-6 else 1)
PY
