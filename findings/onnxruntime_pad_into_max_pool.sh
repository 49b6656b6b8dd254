#!/bin/sh
# onnxruntime takes the zeros of a Pad for the padding of a MaxPool, which is -inf: FP32 answers are wrong.
#
# Version   onnxruntime 1.31.1, onnx 1.23.2
# Behaviour Pad (constant, zeros) and then MaxPool, in float32: the basic optimizations move the zeros into `pads` of
#           the MaxPool. That pads with -inf, so a window whose pixels are all below zero gives its largest pixel
#           instead of 0. Nothing is logged. In front of an AveragePool the move is right, but `pads` as wide as the
#           kernel are refused, so a valid graph is not loaded at all.
#           A net that pads its stem with zeros in front of the pool, without a ReLU between, has other logits in
#           onnxruntime than where it was trained, by default and in every INT8 file made from an optimized graph.
# Output    MaxPool: 0 as written, -1.04 optimized, 0 padded with -0.0
#           AveragePool of 2 with a Pad of 2: loads as written, refused when optimized
# Expected  The same numbers; a session.
# What to do  Pad with -0.0. It is the same number, and a value with a bit set is not moved. Or disable `PadFusion`.
#
# Exits 0 while this is so, 1 when it has changed.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
PYTHONPATH=$folder python3 - <<'PY'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper

images = -1 - np.random.default_rng(0).random((1, 2, 5, 5)).astype(np.float32)


def model(pool, kernel, width, value=None):
    """A Pad of `width` in front of `pool`."""
    constants = {"pads": np.array([0, 0, width, width, 0, 0, width, width])}
    constants |= {} if value is None else {"value": np.float32(value)}
    nodes = [helper.make_node("Pad", ["x", *constants], ["padded"]),
             helper.make_node(pool, ["padded"], ["y"], kernel_shape=[kernel, kernel], pads=[0] * 4)]
    size = 5 + 2 * width - kernel + 1
    graph = helper.make_graph(
        nodes, "block", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 5, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, size, size])],
        [numpy_helper.from_array(number, name) for name, number in constants.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(made, full_check=True)
    return made.SerializeToString()


def corner(content, level):
    """The first pixel of the answer; None where no session is made."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = level
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        assert "smaller than kernel" in str(error)
        return None
    return float(session.run(None, {"x": images})[0][0, 0, 0, 1])


level = onnxruntime.GraphOptimizationLevel
off, on = level.ORT_DISABLE_ALL, level.ORT_ENABLE_BASIC
print("onnxruntime", onnxruntime.__version__)
written, optimized = (corner(model("MaxPool", 3, 1), each) for each in (off, on))
negative = corner(model("MaxPool", 3, 1, -0.0), on)
print(f"MaxPool: {written:.3g} as written, {optimized:.3g} optimized, {abs(negative):.3g} padded with -0.0")
wide = [corner(model("AveragePool", 2, 2), each) for each in (off, on)]
print("AveragePool of 2 with a Pad of 2:", ["refused" if each is None else "loads" for each in wide])
same = (onnxruntime.__version__ == "1.31.1" and written == 0 == negative and optimized < -1
        and wide[0] is not None and wide[1] is None)
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
