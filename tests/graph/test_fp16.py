"""FP16 inside, float32 outside, the same classes."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edge_se.graph.fp16 import to_fp16


@pytest.fixture(scope="module")
def half(tiny_onnx):
    return to_fp16(tiny_onnx)


def test_it_says_what_it_is(half, tiny_onnx):
    assert (half.precision, half.target, half.parent_sha256) == ("fp16", "any", tiny_onnx.sha256)
    assert half.metadata == tiny_onnx.metadata
    onnx.checker.check_model(half.proto, full_check=True)


def test_weights_are_half_precision_and_the_interface_is_not(half, tiny_onnx):
    assert {item.data_type for item in half.proto.graph.initializer} == {TensorProto.FLOAT16}
    for value in (half.proto.graph.input[0], half.proto.graph.output[0]):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    assert half.input_shape == tiny_onnx.input_shape
    assert len(half.content) < 0.65 * len(tiny_onnx.content)


def test_numbers(half, tiny_onnx, run_onnx, random_images):
    images = next(random_images(64).batches(64))
    full, reduced = run_onnx(tiny_onnx, images)[0], run_onnx(half, images)[0]
    assert reduced.dtype == np.float32
    assert np.abs(full - reduced).max() < 0.01 * np.abs(full).max()
    assert np.abs(full - reduced).max() > 0  # it did compute in half precision


def test_it_is_deterministic_and_leaves_its_source_alone(half, tiny_onnx):
    before = tiny_onnx.proto.SerializeToString(deterministic=True)
    assert to_fp16(tiny_onnx).sha256 == half.sha256
    assert tiny_onnx.proto.SerializeToString(deterministic=True) == before
