"""Excitations are found however an exporter wrote them, and nothing else is taken for one."""

import numpy as np
import onnx
import pytest

from edge_se.graph.view import GraphView
from edge_se.quantization.excitations import find_excitations

U = ("Conv", ["x", "w"], ["u"])  # 3 -> 8 channels
CONV = [("Conv", ["s", "w1"], ["a"]), ("Relu", ["a"], ["b"]), ("Conv", ["b", "w2"], ["c"]), ("Sigmoid", ["c"], ["g"])]
POOL = ("GlobalAveragePool", ["u"], ["s"])
SCALE = ("Mul", ["u", "g"], ["y"])
FLAT_POOL = ("ReduceMean", ["u"], ["f"], {"axes": [2, 3], "keepdims": 0})
GEMM = [("Gemm", ["f", "m1"], ["a"]), ("Relu", ["a"], ["b"]), ("Gemm", ["b", "m2", "bias"], ["c"])]
MATMUL = [("MatMul", ["f", "m1"], ["a0"]), ("Add", ["a0", "bias2"], ["a"]), ("Relu", ["a"], ["b"]),
          ("MatMul", ["b", "m2"], ["c0"]), ("Add", ["bias", "c0"], ["c"])]
UNSQUEEZE = [("Sigmoid", ["c"], ["h"]), ("Unsqueeze", ["h", "axes"], ["g"])]
BATCH_SHAPE = [("Shape", ["u"], ["shape"]), ("Gather", ["shape", "zero"], ["n"]), ("Concat", ["n", "rest"], ["flat"],
                                                                                    {"axis": 0})]
EXCITATIONS = {
    "1x1 convolutions": [U, POOL, *CONV, SCALE],
    "excitation first": [U, POOL, *CONV, ("Mul", ["g", "u"], ["y"])],
    "mean as squeeze": [U, ("ReduceMean", ["u"], ["s"], {"axes": [2, 3]}), *CONV, SCALE],
    "hard sigmoid": [U, POOL, *CONV[:3], ("HardSigmoid", ["c"], ["g"]), SCALE],
    "hard swish inside": [U, POOL, CONV[0], ("HardSwish", ["a"], ["b"]), *CONV[2:], SCALE],
    "flatten, gemm, unsqueeze": [U, POOL, ("Flatten", ["s"], ["f"]), *GEMM, *UNSQUEEZE, SCALE],
    "squeeze, gemm, unsqueeze": [U, POOL, ("Squeeze", ["s", "axes"], ["f"]), *GEMM, *UNSQUEEZE, SCALE],
    "reshape, gemm, reshape": [U, POOL, ("Reshape", ["s", "to_flat"], ["f"]), *GEMM, ("Sigmoid", ["c"], ["h"]),
                               ("Reshape", ["h", "to_image"], ["g"]), SCALE],
    "mean without axes, gemm": [U, FLAT_POOL, *GEMM, *UNSQUEEZE, SCALE],
    "sigmoid after the reshape": [U, FLAT_POOL, *GEMM, ("Unsqueeze", ["c", "axes"], ["h"]), ("Sigmoid", ["h"], ["g"]),
                                  SCALE],
    "matmul and add": [U, FLAT_POOL, *MATMUL, *UNSQUEEZE, SCALE],
    "expand to the size of u": [U, POOL, *CONV[:3], ("Sigmoid", ["c"], ["h"]), ("Shape", ["u"], ["shape"]),
                                ("Expand", ["h", "shape"], ["g"]), SCALE],
    "reshapes that ask for the batch size": [U, *BATCH_SHAPE, POOL, ("Reshape", ["s", "flat"], ["f"]), *GEMM,
                                             *UNSQUEEZE, SCALE],
    "one linear map": [U, POOL, ("Conv", ["s", "w3"], ["c"]), ("Sigmoid", ["c"], ["g"]), SCALE],
    "three linear maps": [U, POOL, ("Conv", ["s", "w3"], ["s3"]), ("Conv", ["s3", "w1"], ["a"]), *CONV[1:], SCALE],
    "largest instead of mean": [U, ("GlobalMaxPool", ["u"], ["s"]), *CONV, SCALE],
    "mean and largest": [U, POOL, ("GlobalMaxPool", ["u"], ["t"]), ("Add", ["s", "t"], ["st"]),
                         ("Conv", ["st", "w1"], ["a"]), *CONV[1:], SCALE],
    "hard sigmoid spelled out": [U, POOL, *CONV[:3], ("Add", ["c", "three"], ["c3"]),
                                 ("Clip", ["c3", "low", "six"], ["k"]), ("Div", ["k", "six"], ["g"]), SCALE],
    "tanh for sigmoid": [U, POOL, *CONV[:3], ("Tanh", ["c"], ["k"]), ("Add", ["k", "three"], ["k3"]),
                         ("Mul", ["six", "k3"], ["g"]), SCALE],
    "hard swish spelled out inside": [
        U, POOL, CONV[0], ("Add", ["a", "three"], ["a3"]), ("Clip", ["a3", "low", "six"], ["k"]),
        ("Div", ["k", "six"], ["k6"]), ("Mul", ["a", "k6"], ["b"]), *CONV[2:], SCALE],
    "mean of means": [U, ("ReduceMean", ["u"], ["r"], {"axes": [3]}), ("ReduceMean", ["r"], ["s"], {"axes": [2]}),
                      *CONV, SCALE],
}
V = ("Conv", ["x", "w"], ["v"])
POOLS = [POOL, ("GlobalAveragePool", ["v"], ["t"])]
ADDED = [("Mul", ["u", "g"], ["ug"]), ("Add", ["ug", "v"], ["y"])]
DOUBLE = [("Conv", ["s", "w1"], ["a"]), ("Relu", ["a"], ["b"]), ("Conv", ["t", "w1"], ["a2"]), ("Relu", ["a2"], ["b2"]),
          ("Concat", ["b", "b2"], ["bb"], {"axis": 1}), ("Conv", ["bb", "w4"], ["c"]), ("Sigmoid", ["c"], ["g"])]
PAIRED = [("Concat", ["s", "t"], ["st"], {"axis": 3}), ("Reshape", ["st", "to_pairs"], ["i"]),
          ("Conv", ["i", "w5"], ["m"]), ("Reshape", ["m", "to_image"], ["f"]), ("Conv", ["f", "w1"], ["a"]), *CONV[1:]]
COMPETITIVE = {
    "two squeezes": [U, V, *POOLS, *DOUBLE, *ADDED],
    "both first": [U, V, *POOLS, *DOUBLE, ("Mul", ["g", "u"], ["ug"]), ("Add", ["v", "ug"], ["y"])],
    "pairs under one kernel": [U, V, *POOLS, *PAIRED, *ADDED],
    "shortcut's pool first": [U, V, *reversed(POOLS), *PAIRED, *ADDED],
}
NO_EXCITATIONS = {
    "product of two branches": [U, V, ("Mul", ["u", "v"], ["y"])],
    "swish": [U, ("Sigmoid", ["u"], ["g"]), SCALE],
    "spatial attention without a pool": [U, ("Conv", ["u", "w1"], ["a"]), *CONV[1:], SCALE],
    "pool of another tensor": [U, V, ("GlobalAveragePool", ["v"], ["s"]), *CONV, SCALE],
    "pool of the input": [U, ("GlobalAveragePool", ["x8"], ["s"]), *CONV, SCALE],
    "mean over channels": [U, ("ReduceMean", ["u"], ["s"], {"axes": [1]}), ("Sigmoid", ["s"], ["g"]), SCALE],
    "largest of channels": [U, ("ReduceMax", ["u"], ["s"], {"axes": [-3]}), ("Sigmoid", ["s"], ["g"]), SCALE],
    "clipped on one side": [U, POOL, *CONV[:3], ("Clip", ["c", "low"], ["g"]), SCALE],
    "no sigmoid": [U, POOL, *CONV[:3], ("Mul", ["u", "c"], ["y"])],
    "added instead of multiplied": [U, POOL, *CONV, ("Add", ["u", "g"], ["y"])],
    "constant factor": [U, ("Mul", ["u", "factor"], ["y"])],
    "two pools, the product is not added to the second's": [U, V, *POOLS, *DOUBLE, ("Mul", ["u", "g"], ["y"])],
    "two pools, added to another tensor": [U, V, ("Conv", ["x", "w"], ["o"]), *POOLS, *DOUBLE, ADDED[0],
                                           ("Add", ["ug", "o"], ["y"])],
    "two pools, added and read elsewhere": [U, V, *POOLS, *DOUBLE, ADDED[0], ("Add", ["ug", "v"], ["z"]),
                                            ("Add", ["z", "ug"], ["y"])],
    "three pools": [U, V, *POOLS, ("Conv", ["x", "w"], ["o"]), ("GlobalAveragePool", ["o"], ["p"]),
                    ("Add", ["t", "p"], ["tp"]), *[(op, ["tp" if name == "t" else name for name in read], *rest)
                                                   for op, read, *rest in DOUBLE], *ADDED],
    "another tensor is scaled": [U, V, POOL, *CONV, ("Mul", ["v", "g"], ["y"])],
}


@pytest.fixture
def model_of(graph_of):
    random = np.random.default_rng(0)
    constants = {
        "w": random.standard_normal((8, 3, 1, 1), np.float32), "w1": random.standard_normal((2, 8, 1, 1), np.float32),
        "w2": random.standard_normal((8, 2, 1, 1), np.float32), "w3": random.standard_normal((8, 8, 1, 1), np.float32),
        "w4": random.standard_normal((8, 4, 1, 1), np.float32), "w5": random.standard_normal((1, 1, 1, 2), np.float32),
        "w6": random.standard_normal((2, 16, 1, 1), np.float32), "to_pairs": np.array([-1, 1, 8, 2]),
        "m1": random.standard_normal((8, 2), np.float32), "m2": random.standard_normal((2, 8), np.float32),
        "bias": random.standard_normal(8, np.float32), "bias2": random.standard_normal(2, np.float32),
        "axes": np.array([2, 3]), "to_flat": np.array([-1, 8]), "to_image": np.array([-1, 8, 1, 1]),
        "zero": np.array([0]), "rest": np.array([8]), "low": np.float32(0),
        "three": np.float32(3), "six": np.float32(6), "factor": np.float32([[[0.5]]])}

    def make(nodes):
        if any("x8" in node[1] for node in nodes):
            nodes = [("Concat", ["x", "x", "x"], ["x9"], {"axis": 1}),
                     ("Slice", ["x9", "zero", "rest", "one"], ["x8"]), *nodes]
        used = {name for node in nodes for name in node[1]}
        return graph_of(nodes, {name: value for name, value in (constants | {"one": np.array([1])}).items()
                                if name in used})
    return make


@pytest.mark.parametrize("form", EXCITATIONS)
def test_excitations(model_of, run_onnx, form):
    nodes = EXCITATIONS[form]
    model = model_of(nodes)
    run_onnx(model, np.zeros((2, 3, 8, 8), np.float32))  # the form itself is sound
    (excitation,) = find_excitations(model)
    squeezes = [node[2][0] for node in nodes if node[0] in ("GlobalAveragePool", "GlobalMaxPool", "ReduceMean")]
    if form == "mean of means":
        squeezes = squeezes[:1]  # the second is inside
    assert (sorted(excitation.squeezes), excitation.scale) == (sorted(squeezes), "y")
    computed = {"Conv", "Gemm", "MatMul", "Relu", "HardSwish", "Sigmoid", "HardSigmoid"}
    inner = {node[2][0] for node in nodes if node[0] in computed} - {"u"}
    assert inner <= set(excitation.inner)
    assert not {"u", "x", "y", *excitation.squeezes} & set(excitation.inner)


@pytest.mark.parametrize("form", COMPETITIVE)
def test_competitive_excitations(model_of, run_onnx, form):
    model = model_of(COMPETITIVE[form])
    run_onnx(model, np.zeros((2, 3, 8, 8), np.float32))
    (excitation,) = find_excitations(model)
    assert (excitation.squeezes, excitation.scale) == (("s", "t"), "ug")  # u's own pool first
    made = {node.output[0] for node in model.graph.node}
    assert set(excitation.inner) == made - {"u", "v", "s", "t", "ug", "y"}


@pytest.mark.parametrize("form", NO_EXCITATIONS)
def test_what_is_no_excitation(model_of, form):
    model = model_of(NO_EXCITATIONS[form])
    onnx.checker.check_model(model)
    assert find_excitations(model) == []


def test_every_excitation_of_a_net_is_found_in_order(tiny_onnx, tiny_plain_onnx):
    excitations = find_excitations(tiny_onnx.proto)
    assert [len(excitation.inner) for excitation in excitations] == [4] * 4
    order = [node.output[0] for node in tiny_onnx.proto.graph.node]
    assert [order.index(one.scale) for one in excitations] == sorted(order.index(one.scale) for one in excitations)
    assert len({name for one in excitations for name in (*one.inner, *one.squeezes, one.scale)}) == 24
    assert find_excitations(tiny_plain_onnx.proto) == []


@pytest.mark.parametrize("attention", ["pre", "post", "identity", "double_fc", "pair2x1", "pair1x1", "folded"])
def test_excitations_of_every_placement_and_competitor(family_onnx, attention):
    proto = family_onnx(attention).proto
    excitations, view = find_excitations(proto), GraphView(proto)
    assert len(excitations) == 4
    for excitation in excitations:
        assert len(excitation.squeezes) == (1 if attention in ("pre", "post", "identity") else 2)
        assert all(view.producer[name].op_type == "GlobalAveragePool" for name in excitation.squeezes)
        pooled = view.producer[excitation.squeezes[0]].input[0]
        assert set(view.producer[excitation.scale].input) == {pooled, excitation.inner[0]}
    left = [node.op_type for node in proto.graph.node if node.op_type in ("Sigmoid", "Mul", "Concat", "Reshape")]
    held = [view.producer[name].op_type for excitation in excitations for name in (*excitation.inner, excitation.scale)]
    assert all(held.count(kind) == left.count(kind) for kind in set(left))
