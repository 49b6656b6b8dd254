"""SE gates are found however an exporter wrote them, and nothing else is taken for one."""

import numpy as np
import onnx
import pytest

from edge_se.quantization.se_gates import find_se_gates

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
GATES = {
    "1x1 convolutions": [U, POOL, *CONV, SCALE],
    "gate first": [U, POOL, *CONV, ("Mul", ["g", "u"], ["y"])],
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
}
V = ("Conv", ["x", "w"], ["v"])
NO_GATES = {
    "product of two branches": [U, V, ("Mul", ["u", "v"], ["y"])],
    "swish": [U, ("Sigmoid", ["u"], ["g"]), SCALE],
    "spatial attention without a pool": [U, ("Conv", ["u", "w1"], ["a"]), *CONV[1:], SCALE],
    "pool of another tensor": [U, V, ("GlobalAveragePool", ["v"], ["s"]), *CONV, SCALE],
    "pool of the input": [U, ("GlobalAveragePool", ["x8"], ["s"]), *CONV, SCALE],
    "largest instead of mean": [U, ("GlobalMaxPool", ["u"], ["s"]), *CONV, SCALE],
    "two pools": [U, POOL, ("GlobalAveragePool", ["u"], ["t"]), ("Add", ["s", "t"], ["st"]),
                  ("Conv", ["st", "w1"], ["a"]), *CONV[1:], SCALE],
    "one linear map": [U, POOL, ("Conv", ["s", "w3"], ["c"]), ("Sigmoid", ["c"], ["g"]), SCALE],
    "three linear maps": [U, POOL, ("Conv", ["s", "w3"], ["s3"]), ("Conv", ["s3", "w1"], ["a"]), *CONV[1:], SCALE],
    "no sigmoid": [U, POOL, *CONV[:3], ("Mul", ["u", "c"], ["y"])],
    "added instead of multiplied": [U, POOL, *CONV, ("Add", ["u", "g"], ["y"])],
    "constant factor": [U, ("Mul", ["u", "factor"], ["y"])],
    "another tensor is scaled": [U, V, POOL, *CONV, ("Mul", ["v", "g"], ["y"])],
}


@pytest.fixture
def model_of(graph_of):
    random = np.random.default_rng(0)
    constants = {
        "w": random.standard_normal((8, 3, 1, 1), np.float32), "w1": random.standard_normal((2, 8, 1, 1), np.float32),
        "w2": random.standard_normal((8, 2, 1, 1), np.float32), "w3": random.standard_normal((8, 8, 1, 1), np.float32),
        "m1": random.standard_normal((8, 2), np.float32), "m2": random.standard_normal((2, 8), np.float32),
        "bias": random.standard_normal(8, np.float32), "bias2": random.standard_normal(2, np.float32),
        "axes": np.array([2, 3]), "to_flat": np.array([-1, 8]), "to_image": np.array([-1, 8, 1, 1]),
        "zero": np.array([0]), "rest": np.array([8]), "factor": np.float32([[[0.5]]])}

    def make(nodes):
        if any("x8" in node[1] for node in nodes):
            nodes = [("Concat", ["x", "x", "x"], ["x9"], {"axis": 1}),
                     ("Slice", ["x9", "zero", "rest", "one"], ["x8"]), *nodes]
        used = {name for node in nodes for name in node[1]}
        return graph_of(nodes, {name: value for name, value in (constants | {"one": np.array([1])}).items()
                                if name in used})
    return make


@pytest.mark.parametrize("form", GATES)
def test_gates(model_of, run_onnx, form):
    nodes = GATES[form]
    model = model_of(nodes)
    run_onnx(model, np.zeros((2, 3, 8, 8), np.float32))  # the form itself is sound
    (gate,) = find_se_gates(model)
    squeezes = [node[2][0] for node in nodes if node[0] in ("GlobalAveragePool", "ReduceMean")]
    assert ([gate.squeeze], gate.scale) == (squeezes, "y")
    computed = {"Conv", "Gemm", "MatMul", "Relu", "HardSwish", "Sigmoid", "HardSigmoid"}
    inner = {node[2][0] for node in nodes if node[0] in computed} - {"u"}
    assert inner <= set(gate.inner)
    assert not {"u", "x", "y", gate.squeeze} & set(gate.inner)


@pytest.mark.parametrize("form", NO_GATES)
def test_what_is_no_gate(model_of, form):
    model = model_of(NO_GATES[form])
    onnx.checker.check_model(model)
    assert find_se_gates(model) == []


def test_every_gate_of_a_net_is_found_in_order(tiny_onnx, tiny_plain_onnx):
    gates = find_se_gates(tiny_onnx.proto)
    assert [len(gate.inner) for gate in gates] == [4] * 4
    order = [node.output[0] for node in tiny_onnx.proto.graph.node]
    assert [order.index(gate.scale) for gate in gates] == sorted(order.index(gate.scale) for gate in gates)
    assert len({name for gate in gates for name in (*gate.inner, gate.squeeze, gate.scale)}) == 24
    assert find_se_gates(tiny_plain_onnx.proto) == []
