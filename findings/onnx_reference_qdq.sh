#!/bin/sh
# ONNX's reference evaluator runs no DequantizeLinear below opset 19, though it runs QuantizeLinear from opset 10 on.
#
# Version   onnx 1.23.2
# Behaviour A Q/DQ pair of opset 10 to 18, which onnx.checker passes with full_check, does not run in
#           onnx.reference.ReferenceEvaluator: it raises a plain RuntimeError when the evaluator is made, not when the
#           graph is checked. QuantizeLinear alone runs at the same opsets, and the pair from opset 19 on.
# Output    opset 13: Q runs, Q and DQ: No implementation for operator 'DequantizeLinear' domain '' and version 13,
#           found 19, 21, 23, 25, None.   (alike at 10, 17 and 18; at 19 and 21 both run)
# Expected  That the reference runs every operator in every version that the checker takes, or both halves of a pair
#           alike: opset 13 and 17 are common among INT8 files, since TensorRT 8 reads no later one.
# What to do  Raise a copy to opset 19 with onnx.version_converter first (the pair means the same), or run the file as
#           written in onnxruntime with ORT_DISABLE_ALL. Catch RuntimeError where you make the evaluator.
#
# Exits 0 while this is so, 1 when it has changed.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" onnx==1.23.2 numpy==2.4.6
PYTHONPATH=$folder python3 - <<'PY'
import sys

import numpy as np
import onnx
from onnx import TensorProto, checker, helper
from onnx.reference import ReferenceEvaluator
from onnx.version_converter import convert_version


def model(opset, pair):
    nodes = [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"])]
    if pair:
        nodes.append(helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]))
    kind = TensorProto.FLOAT if pair else TensorProto.INT8
    graph = helper.make_graph(
        nodes, "pair", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y" if pair else "q", kind, [2])],
        [helper.make_tensor("scale", TensorProto.FLOAT, [], [0.1]),
         helper.make_tensor("zero", TensorProto.INT8, [], [0])])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    checker.check_model(made, full_check=True)
    return made


def runs(made):
    try:
        return ReferenceEvaluator(made).run(None, {"x": np.array([0.33, 1.0], np.float32)})[0]
    except RuntimeError as error:
        return str(error)


print("onnx", onnx.__version__)
same = onnx.__version__ == "1.23.2"
for opset in (10, 13, 17, 18, 19, 21):
    alone, pair = runs(model(opset, False)), runs(model(opset, True))
    print(f"opset {opset}: Q {alone}, Q and DQ: {pair}")
    same &= not isinstance(alone, str) and alone.tolist() == [3, 10]
    same &= ("No implementation for operator 'DequantizeLinear'" in pair if opset < 19
             else not isinstance(pair, str) and np.allclose(pair, [0.3, 1.0]))
raised = runs(convert_version(model(13, True), 19))
print("opset 13 raised to 19:", raised)
same &= not isinstance(raised, str) and np.allclose(raised, [0.3, 1.0])
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
