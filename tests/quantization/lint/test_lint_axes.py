"""Scales along another axis than a layer's outputs: what both runtimes make of them, and what the rules find."""

import numpy as np
import onnx
import pytest

from edge_se.core import environment
from edge_se.quantization.lint.qdq import QdqView
from edge_se.quantization.lint.table import RULES

FAR, NEAR = 10, 30  # decibels
OURS, THEIRS = "scales-along-inputs", "matrix-scales"  # onnxruntime's rule and OpenVINO's


def convolution(of, axis, inputs=8, outputs=8, quantized=True):
    """A second convolution behind the first one of `inputs` channels."""
    own = of.graph()
    first = own.add("Conv", ["x", own.constant("f", own.random.normal(size=(inputs, 3, 1, 1)).astype(np.float32))], "c")
    shape = (outputs, inputs, 1, 1)
    weights = own.weights("w", own.random.integers(-63, 64, shape).astype(np.int8),
                          np.logspace(-3, -1, shape[axis], dtype=np.float32), axis=axis)
    layer = own.add("Conv", [own.pair(first, 0.05, 128), weights], "layer")
    return own.model(own.pair(layer, 0.2, 128) if quantized else layer)


# file -> (what onnxruntime makes of it, what OpenVINO does)
FILES = {
    "a Gemm's inputs": (lambda of: of.product((64, 64), 0, operator="Gemm"), "wrong", "wrong"),
    "a transposed Gemm's inputs": (lambda of: of.product((64, 64), 1, operator="Gemm", transB=1), "wrong", "wrong"),
    "a Gemm's inputs, more than outputs": (lambda of: of.product((64, 24), 0, operator="Gemm"), "right", "wrong"),
    "a Gemm's outputs": (lambda of: of.product((64, 64), 1, operator="Gemm"), "right", "right"),
    "a matrix's inputs": (lambda of: of.product((64, 64), 0), "wrong", "wrong"),
    "a matrix's inputs, counted from behind": (lambda of: of.product((64, 64), -2), "wrong", "wrong"),
    "a matrix's inputs, more than outputs": (lambda of: of.product((64, 24), 0), "fails", "wrong"),
    "a matrix's outputs": (lambda of: of.product((64, 24), 1), "right", "right"),
    "a stack's inputs": (lambda of: of.product((3, 64, 24), 1, np.int8), "fails", "right"),
    "a stack's outputs, signed data": (lambda of: of.product((3, 64, 24), 2, np.int8), "fails", "wrong"),
    "a stack's outputs": (lambda of: of.product((3, 64, 24), 2), "fails", "right"),
    "a stack's one scale": (lambda of: of.product((3, 64, 24), None, np.int8), "right", "right"),
    "a convolution's inputs": (lambda of: convolution(of, 1), "wrong", "right"),
    "a convolution's inputs, fewer than outputs": (lambda of: convolution(of, 1, outputs=12), "fails", "right"),
    "a convolution's inputs, in float behind": (lambda of: convolution(of, 1, quantized=False), "right", "right"),
    "a convolution's outputs": (lambda of: convolution(of, 0), "right", "right")}


def told(right, compute, of):
    try:
        decibels = of.decibels(right, compute())
    except Exception:  # onnxruntime's own kinds share no base class
        return "fails"
    assert decibels < FAR or decibels > NEAR
    return "right" if decibels > NEAR else "wrong"


@pytest.mark.parametrize("name", FILES)
def test_onnxruntime_and_its_rule(name, of, images):
    make, expected, _ = FILES[name]
    proto = make(of)
    right = of.run(proto, images, optimized=False)
    assert told(right, lambda: of.run(proto, images), of) == expected
    assert bool(list(RULES[OURS].find(QdqView(proto)))) == (expected != "right")


@pytest.mark.parametrize("name", [name for name in FILES if FILES[name][1] == "wrong"])
def test_onnxruntime_takes_them_for_scales_of_outputs(name, of, images):
    proto = FILES[name][0](of)
    instead = onnx.ModelProto.FromString(proto.SerializeToString())
    RULES[OURS].computed(instead)
    onnx.checker.check_model(instead)
    assert of.decibels(of.run(instead, images, optimized=False), of.run(proto, images)) > NEAR


@pytest.mark.skipif(environment.version_of("openvino") != "2026.4.1", reason="needs OpenVINO 2026.4.1")
@pytest.mark.skipif("avx512_vnni" not in environment.processor_flags(), reason="needs a processor with VNNI")
@pytest.mark.parametrize("name", FILES)
def test_openvino_and_its_rule(name, of, images):
    make, _, expected = FILES[name]
    proto = make(of)
    right = of.run(proto, images, optimized=False)
    assert told(right, lambda: of.openvino(proto, images)[0], of) == expected
    assert bool(list(RULES[THEIRS].find(QdqView(proto)))) == (expected != "right")


def test_a_layer_that_shares_its_weights_keeps_its_own(of, images):
    """Of a matrix that two layers read, one of them transposed, the rules name the one that reads it the wrong way."""
    own = of.graph()
    data = own.pair(own.add("Reshape", ["x", own.constant("rows", np.array([3, 64]))], "flat"), 0.02, 128)
    weights = own.weights("w", own.random.integers(-63, 64, (64, 64)).astype(np.int8), np.logspace(-3, -1, 64))
    first = own.pair(own.add("Gemm", [data, weights], "wrong"), 0.3, 128)
    proto = own.model(own.pair(own.add("Gemm", [first, weights], "right", transB=1), 3.0, 128))
    for rule in (OURS, THEIRS):
        assert [finding.tensor for finding in RULES[rule].find(QdqView(proto))] == ["wrong"]
    RULES[OURS].computed(proto)
    assert not list(RULES[OURS].find(QdqView(proto)))
    kept = next(node for node in proto.graph.node if node.output[0] == "right")
    assert kept.input[1] == "w_dq"
