#!/bin/sh
# onnxruntime ignores the scale of a Gemm's quantized bias, though it respects that of a convolution.
#
# Version   onnxruntime 1.31.1 (x86-64), onnx 1.23.2
# Behaviour A Gemm between Q/DQ pairs whose int32 bias has a DequantizeLinear with a scale of its own (not scale of the
#           input times scale of the weight) is fused to QGemm at the default optimization level. QGemm takes the int32
#           numbers as they are, as if their scale were the product. Nothing is logged. A Conv with the same tensors is
#           left as written in such a case, and is right.
# Output    Gemm: off by at most 0.00 as written, by 9.40 by default (nodes QuantizeLinear, QGemm, DequantizeLinear)
#           Conv: off by at most 0.00 as written, by 0.00 by default
# Expected  That an optimization which needs bias_scale = input_scale * weight_scale checks that it holds. Tools which
#           calibrate biases by themselves, or which edit a scale after the bias was quantized, write such files.
# What to do  Write biases as float, or quantize them again with the product of the two scales after the last change of
#           either. To see whether a file has the fault, compare a session with ORT_DISABLE_ALL with the default one.
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
INPUTS, OUTPUTS = 16, 8
IN_SCALE, WEIGHT_SCALE, BIAS_SCALE, OUT_SCALE = 0.05, 0.01, 0.004, 0.2  # the product of the first two is 0.0005
images = random.normal(size=(1, INPUTS)).astype(np.float32)
weights = random.integers(-127, 128, (OUTPUTS, INPUTS)).astype(np.int8)
bias = random.integers(-4000, 4000, OUTPUTS).astype(np.int32)
file = os.path.join(os.environ["FOLDER"], "optimized.onnx")


def model(kind):
    spatial = (1, 1) if kind == "Conv" else ()
    numbers = {"xs": np.float32(IN_SCALE), "xz": np.uint8(128), "w": weights.reshape(*weights.shape, *spatial),
               "ws": np.float32(WEIGHT_SCALE), "wz": np.int8(0), "b": bias, "bs": np.float32(BIAS_SCALE),
               "bz": np.int32(0), "ys": np.float32(OUT_SCALE), "yz": np.uint8(128)}
    node = helper.make_node
    nodes = [node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]), node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
             node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]), node("DequantizeLinear", ["b", "bs", "bz"], ["bd"]),
             node(kind, ["xd", "wd", "bd"], ["f"], **({"transB": 1} if kind == "Gemm" else {})),
             node("QuantizeLinear", ["f", "ys", "yz"], ["fq"]), node("DequantizeLinear", ["fq", "ys", "yz"], ["y"])]
    float32 = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "layer", [helper.make_tensor_value_info("x", float32, [1, INPUTS, *spatial])],
        [helper.make_tensor_value_info("y", float32, [1, OUTPUTS, *spatial])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(made, full_check=True)
    return made


def exact():
    """As ONNX defines it, (OUTPUTS,)."""
    seen = np.clip(np.rint(images / np.float32(IN_SCALE)) + 128, 0, 255) - 128
    true = seen[0] * IN_SCALE @ (weights.T * WEIGHT_SCALE) + bias * BIAS_SCALE
    return (np.clip(np.rint(true / OUT_SCALE) + 128, 0, 255) - 128) * OUT_SCALE


def answers(made, level, saved=""):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = level, 3  # a saved graph warns
    if saved:
        options.optimized_model_filepath = saved
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape
    return session.run(None, {"x": images.reshape(shape)})[0].ravel()


print("onnxruntime", onnxruntime.__version__)
levels = onnxruntime.GraphOptimizationLevel
same = onnxruntime.__version__ == "1.31.1"
for kind in ("Gemm", "Conv"):
    made = model(kind)
    written = float(np.abs(answers(made, levels.ORT_DISABLE_ALL) - exact()).max())
    default = float(np.abs(answers(made, levels.ORT_ENABLE_ALL, file) - exact()).max())
    kinds = ", ".join(node.op_type for node in onnx.load(file).graph.node)
    print(f"{kind}: off by at most {written:.2f} as written, by {default:.2f} by default (nodes {kinds})")
    same = same and written < OUT_SCALE * 1.01 and ((default > 5 and "QGemm" in kinds) if kind == "Gemm"
                                                    else default < OUT_SCALE * 1.01)
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
