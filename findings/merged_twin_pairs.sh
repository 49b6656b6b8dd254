#!/bin/sh
# onnxslim, onnxsim and onnxscript's optimizer merge two Q/DQ pairs of one tensor, whatever their names.
#
# Version   onnxslim 0.1.98, onnxsim 0.8.1, onnxscript 0.7.2, onnx 1.23.2
# Behaviour A tensor with two QuantizeLinear nodes of equal scale and zero point (one pair for a convolution, one for the
#           shortcut, as TensorRT's quantizers write them on purpose) has one after each of these tools. Scales and zero
#           points in initializers of their own with other names do not help: values are compared. An attribute does:
#           axis, which means nothing beside a scale of one number.
# Output    pairs of the same constants: 2 QuantizeLinear, onnxslim 1, onnxsim 1, onnxscript 1
#           constants of their own: 2 QuantizeLinear, onnxslim 1, onnxsim 1, onnxscript 1
#           axis=0 at one of them: 2 QuantizeLinear, onnxslim 2, onnxsim 2, onnxscript 2
# Expected  That simplifiers keep to what a quantizer placed, or that other names keep two constants apart.
# What to do  Do not simplify Q/DQ files; simplify before quantizing. Where somebody else will, set axis=0 on one of two.
#
# Exits 0 while this is so, 1 when it has changed.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" onnxslim==0.1.98 onnxsim==0.8.1 onnxscript==0.7.2 onnx==1.23.2 \
    numpy==2.4.6
PYTHONPATH=$folder python3 - <<'PY'
import sys

import numpy as np
import onnxscript.optimizer
import onnxsim
import onnxslim
from onnx import TensorProto, checker, helper, numpy_helper


def model(second, **attributes):
    """`x` with two pairs, the later one with the constants `second`: one for a convolution, one for the shortcut."""
    node = helper.make_node
    numbers = {"s1": np.float32(0.02), "z1": np.int8(0), "s2": np.float32(0.02), "z2": np.int8(0),
               "w": np.ones((3, 3, 1, 1), np.float32)}
    graph = helper.make_graph(
        [node("QuantizeLinear", ["x", "s1", "z1"], ["q1"], "Q1"), node("DequantizeLinear", ["q1", "s1", "z1"], ["d1"]),
         node("QuantizeLinear", ["x", *second], ["q2"], "Q2", **attributes),
         node("DequantizeLinear", ["q2", *second], ["d2"], **attributes),
         node("Conv", ["d1", "w"], ["c"]), node("Add", ["c", "d2"], ["y"])],
        "shortcut", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(made, full_check=True)
    return made


def pairs(made):
    return sum(node.op_type == "QuantizeLinear" for node in made.graph.node)


found = []
for label, made in (("pairs of the same constants", model(("s1", "z1"))), ("constants of their own", model(("s2", "z2"))),
                    ("axis=0 at one of them", model(("s2", "z2"), axis=0))):
    counts = [pairs(onnxslim.slim(made)), pairs(onnxsim.simplify(made)[0]), pairs(onnxscript.optimizer.optimize(made))]
    print(f"{label}: {pairs(made)} QuantizeLinear, onnxslim {counts[0]}, onnxsim {counts[1]}, onnxscript {counts[2]}")
    found.append(counts)
same = found == [[1, 1, 1], [1, 1, 1], [2, 2, 2]]
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
