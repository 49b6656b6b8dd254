#!/bin/sh
# onnxruntime does not load a file where a branch reads a tensor that otherwise only a node without readers reads.
#
# Version   onnxruntime 1.31.1 (x86-64), onnx 1.23.2
# Behaviour An If whose condition is an initializer, and whose branches read a tensor of the graph around it, which a
#           node reads, too, whose own result nobody reads. With optimizations, which are on by default, the session
#           fails; without them the same file runs. Without the spare node it loads in both. onnx's checker passes all.
# Output    "Invalid model. Node input 'a' is not a graph input, initializer, or output of a previous node."
# Expected  That it loads: nodes without readers are valid. Exporters by tracing write such an If for a squeeze whose
#           size they do not know, as in PyTorch's LocalResponseNorm. A tool that computes the condition in advance
#           leaves behind the Shape that it was computed from, and then nobody reads that.
# What to do  Remove nodes without readers from the file, all of them at once, before onnxruntime sees it.
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

LEVEL = onnxruntime.GraphOptimizationLevel


def value(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, 3])


def branch(name):
    return helper.make_graph([helper.make_node("Neg", ["a"], [name])], name, [], [value(name)])


def model(spare):
    """x -> Relu -> a; If: Neg of a; the Shape of a for nobody, where `spare`."""
    nodes = [helper.make_node("Relu", ["x"], ["a"]), *([helper.make_node("Shape", ["a"], ["size"])] if spare else []),
             helper.make_node("If", ["c"], ["b"], then_branch=branch("one"), else_branch=branch("other")),
             helper.make_node("Neg", ["b"], ["y"])]
    graph = helper.make_graph(nodes, "branch", [value("x")], [value("y")],
                              [numpy_helper.from_array(np.array(False), "c")])
    made = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    checker.check_model(made, full_check=True)
    return made.SerializeToString()


def runs(content, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        return str(error).partition("Invalid")[2] or str(error)
    return bool((session.run(None, {"x": np.ones((1, 2, 3), np.float32)})[0] == 1).all())


seen = {(spare, name): runs(model(spare), level) for spare in (False, True)
        for name, level in (("optimized", LEVEL.ORT_ENABLE_ALL), ("as written", LEVEL.ORT_DISABLE_ALL))}
for (spare, name), answer in seen.items():
    print(f"{'with' if spare else 'without'} the spare node, {name}: {answer}")
failed = seen.pop((True, "optimized"))
sys.exit(0 if isinstance(failed, str) and "not a graph input" in failed and all(x is True for x in seen.values()) else 1)
PY
