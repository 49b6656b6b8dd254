#!/bin/sh
# onnxruntime's CPU provider does not round to FP16 between the operators of an FP16 file, not even as written.
#
# Version   onnxruntime 1.31.1 (x86-64), onnx 1.23.2
# Behaviour Operators without an FP16 kernel (Add, Sub, Conv and most others on x86) run in FP32 between inserted casts,
#           and the casts down and up between two of them are taken out: a chain of FP16 operators is one FP32 chain.
#           This is done when a session is made, so ORT_DISABLE_ALL does not stop it.
# Output    Add, then Sub: 2048 + 1 - 2048 = 1.0 by default, 1.0 as written; in FP16 0.0
#           Conv, then Sub: 1.0 by default, 1.0 as written; in FP16 0.0
# Expected  That a file of FP16 tensors has the numbers of FP16 somewhere, or with all optimizations off at least; its
#           accuracy on a CPU is taken for that on a GPU that computes in FP16.
# What to do  Say that such an accuracy is one of FP16 weights in FP32 arithmetic. To see FP16's own rounding, run it
#           where FP16 is computed, or with onnx.reference.
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
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

LEVELS = onnxruntime.GraphOptimizationLevel
constants = {"one": np.float16([1]), "big": np.float16([2048]), "weight": np.ones((1, 1, 1, 1), np.float16)}


def model(first):
    nodes = [helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16), first,
             helper.make_node("Sub", ["sum", "big"], ["rest"]),
             helper.make_node("Cast", ["rest"], ["y"], to=TensorProto.FLOAT)]
    read = {name for node in nodes for name in node.input}
    shape = [1, 1, 1, 1]
    graph = helper.make_graph(nodes, "fp16", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
                              [numpy_helper.from_array(value, name) for name, value in constants.items()
                               if name in read])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


changed = False
for name, first in (("Add", helper.make_node("Add", ["half", "one"], ["sum"])),
                    ("Conv", helper.make_node("Conv", ["half", "weight", "one"], ["sum"]))):
    made, feed, found = model(first), {"x": np.full((1, 1, 1, 1), 2048, np.float32)}, []
    for level in (LEVELS.ORT_ENABLE_ALL, LEVELS.ORT_DISABLE_ALL):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found.append(session.run(None, feed)[0].item())
    exact = ReferenceEvaluator(made).run(None, feed)[0].item()
    print(f"{name}, then Sub: {found[0]} by default, {found[1]} as written; in FP16 {exact}")
    changed = changed or found != [1.0, 1.0] or exact != 0.0
sys.exit(changed)
PY
