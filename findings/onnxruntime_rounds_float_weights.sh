#!/bin/sh
# onnxruntime quantizes the float weights of a convolution between Q/DQ pairs, with one scale for the whole tensor.
#
# Version   onnxruntime 1.31.1 (x86-64), onnx 1.23.2
# Behaviour A convolution whose input comes from a DequantizeLinear, whose output goes to a QuantizeLinear and whose
#           weights are plain float32 is rewritten at the default optimization level: the pass WeightBiasQuantization
#           makes int8 weights of them and an int32 bias, and QLinearConv follows. The scale is one number for all
#           output channels, so a channel whose weights are a thousandth of the largest becomes zero. Nothing is logged.
#           Without the QuantizeLinear behind it, the convolution stays as written.
# Output    as the file says: Conv, 72 different weights in the small channel
#           default: QLinearConv, scale of shape (), 1 different weight in the small channel
#           its largest answer: 0.010 as written, 0.0 by default; without the pass: 0.010
# Expected  That weights which a quantizer left in float stay float: "keep this layer in float" is what people do with a
#           layer that loses accuracy. Here the layer then is worse off than with scales per channel.
# What to do  Leave out the pair behind such a convolution too, or give its weights a DequantizeLinear per channel, or
#           make the session with disabled_optimizers=["WeightBiasQuantization"].
#
# Exits 0 while this is so, 1 when it has changed.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
PYTHONPATH=$folder FOLDER=$folder python3 - <<'PY'
import os
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper

random = np.random.default_rng(0)
weights = random.uniform(-1, 1, (4, 8, 3, 3)).astype(np.float32)
weights[1] *= 1e-3
arrays = {"scale": np.float32(1 / 128), "zero": np.uint8(128), "weights": weights, "bias": np.zeros(4, np.float32),
          "out_scale": np.float32(2e-3), "out_zero": np.uint8(128)}
graph = helper.make_graph(
    [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
     helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
     helper.make_node("Conv", ["d", "weights", "bias"], ["c"], pads=[1, 1, 1, 1]),
     helper.make_node("QuantizeLinear", ["c", "out_scale", "out_zero"], ["r"]),
     helper.make_node("DequantizeLinear", ["r", "out_scale", "out_zero"], ["y"])],
    "layer", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 16, 16])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 16, 16])],
    [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
checker.check_model(model, full_check=True)
images = random.uniform(-1, 1, (1, 8, 16, 16)).astype(np.float32)
file = os.path.join(os.environ["FOLDER"], "optimized.onnx")


def largest(level, disabled=(), saved=None):
    """The small channel's largest answer."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = level, 2
    if saved:
        options.optimized_model_filepath = saved
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"],
                                           disabled_optimizers=list(disabled))
    return float(np.abs(session.run(None, {"x": images})[0][0, 1]).max())


levels = onnxruntime.GraphOptimizationLevel
written, default = largest(levels.ORT_DISABLE_ALL), largest(levels.ORT_ENABLE_ALL, saved=file)
without = largest(levels.ORT_ENABLE_ALL, ["WeightBiasQuantization"])
optimized = onnx.load(file)
kinds = [node.op_type for node in optimized.graph.node]
values = {item.name: numpy_helper.to_array(item) for item in optimized.graph.initializer}
conv = next(node for node in optimized.graph.node if node.op_type in ("Conv", "QLinearConv"))
print("onnxruntime", onnxruntime.__version__)
print(f"as the file says: Conv, {len(np.unique(weights[1]))} different weights in the small channel")
same = onnxruntime.__version__ == "1.31.1" and conv.op_type == "QLinearConv"
if same:
    rounded, scale = values[conv.input[3]], values[conv.input[4]]
    print(f"default: {conv.op_type}, scale of shape {scale.shape}, {len(np.unique(rounded[1]))} different weight in the "
          "small channel")
    same = scale.shape == () and rounded.dtype == np.int8 and not rounded[1].any()
print(f"its largest answer: {written:.3f} as written, {default} by default; without the pass: {without:.3f}")
same = same and default == 0 and written > 0.005 and abs(written - without) < 1e-6
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
