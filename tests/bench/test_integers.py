"""The exact answers of a Q/DQ file, and how far each runtime here is from them, for all forms of file."""

import numpy as np
import pytest
from onnx import TensorProto

from bench.integers import Oracle
from bench.simulations import RUNTIMES, TARGETS, measured
from edge_se.backends import openvino
from edge_se.evaluation.accuracy import logits_of
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.sensitivity import sqnr_db

IMAGES = 24
FORMS = {"cpu": 38, "openvino": 38, "tensorrt": 38, "tensorrt-fp16": 30}  # dB that the nearest runtime reaches


def test_halves_go_to_the_even_level(graph_of):
    proto = graph_of([("QuantizeLinear", ["x", "s", "z"], ["q"]), ("DequantizeLinear", ["q", "s", "z"], ["d"]),
                      ("Identity", ["d"], ["y"])], {"s": np.float32(2), "z": np.int8(0)})
    values = np.zeros((1, 3, 8, 8), np.float32)
    values[0, 0, 0] = [1, 3, 5, -1, -3, 5.001, 300, -300]
    given = Oracle(OnnxModel.of(proto)).run(values)[0, 0, 0]
    np.testing.assert_array_equal(given, [0, 4, 4, 0, -4, 6, 254, -256])


@pytest.mark.parametrize(("point", "low", "high"), [(np.uint8(3), 0, 255), (np.int8(-5), -128, 127)])
def test_a_zero_point_moves_the_levels(graph_of, run_onnx, point, low, high):
    proto = graph_of([("QuantizeLinear", ["x", "s", "z"], ["q"]), ("DequantizeLinear", ["q", "s", "z"], ["d"]),
                      ("Identity", ["d"], ["y"])], {"s": np.float32(0.5), "z": point})
    values = np.random.default_rng(0).normal(scale=60, size=(2, 3, 8, 8)).astype(np.float32)
    given = Oracle(OnnxModel.of(proto)).run(values)
    np.testing.assert_array_equal(given, run_onnx(proto, values)[0])
    assert given.min() == (low - float(point)) / 2 and given.max() == (high - float(point)) / 2


@pytest.mark.parametrize("attributes", [
    {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 1, 1, 0]},
    {"kernel_shape": [3, 3], "dilations": [2, 2]}, {"kernel_shape": [1, 1]}])
@pytest.mark.parametrize("groups", [1, 3])
def test_convolutions_of_floats_are_onnxruntimes(graph_of, run_onnx, attributes, groups):
    random, size = np.random.default_rng(0), attributes["kernel_shape"][0]
    weights = random.normal(size=(6, 3 // groups, size, size)).astype(np.float32)
    proto = graph_of([("Conv", ["x", "w", "b"], ["y"], {**attributes, "group": groups})],
                     {"w": weights, "b": random.normal(size=6).astype(np.float32)})
    images = random.normal(size=(2, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(Oracle(OnnxModel.of(proto)).run(images), run_onnx(proto, images)[0], rtol=1e-4,
                               atol=1e-4)


def test_sums_are_exact_beyond_what_float32_holds(graph_of):
    weights = np.full((1, 27, 8, 8), 127, np.int8)
    proto = graph_of([("QuantizeLinear", ["x", "s", "z"], ["q"]), ("DequantizeLinear", ["q", "s", "z"], ["d"]),
                      ("DequantizeLinear", ["w", "s"], ["dw"]), ("Conv", ["d", "dw"], ["y"])],
                     {"s": np.float32(1), "z": np.uint8(0), "w": weights}, x=("batch", 27, 8, 8))
    image = np.full((1, 27, 8, 8), 255, np.float32)
    image[0, 0, 0, 0] = 2
    expected = int((image.astype(np.int64) * weights).sum())
    assert expected > 2**24 and int(np.float32(expected)) != expected
    assert Oracle(OnnxModel.of(proto)).run(image).item() == expected


def test_what_the_file_declares_fp16_is_rounded_to_fp16(graph_of):
    proto = graph_of([("Cast", ["x"], ["h"], {"to": TensorProto.FLOAT16}), ("Add", ["h", "c"], ["a"]),
                      ("Cast", ["a"], ["y"], {"to": TensorProto.FLOAT})], {"c": np.float16(1)})
    values = np.full((1, 3, 8, 8), 2048.4, np.float32)
    assert set(Oracle(OnnxModel.of(proto)).run(values).ravel()) == {2048.0}  # 2049 has no FP16


def test_a_float_net_has_onnxruntimes_numbers(tiny_onnx, run_onnx, random_images):
    images = next(random_images(4).batches(4))
    np.testing.assert_allclose(Oracle(tiny_onnx).run(images), run_onnx(tiny_onnx, images)[0], rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def rows(tiny_build, random_images):
    """target -> {runtime and its settings: (flips, dB)} against exact integers, on the images that set the ranges."""
    if not openvino.installed():
        pytest.skip(f"openvino is missing: {openvino.INSTALL}")
    folder = tiny_build("exact", accuracy=False, targets=list(TARGETS)).folder
    images = next(random_images(IMAGES).batches(IMAGES))
    return {target: {row["how"]: (row["flips"], row["sqnr_db"]) for row in measured(
        OnnxModel.read(folder / f"int8.{target}.onnx", precision="int8", target=target), images)}
        for target in TARGETS}


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_some_runtime_has_the_exact_answers_of_each_form(rows, target):
    assert set(rows[target]) == set(RUNTIMES)
    flips, decibels = max(rows[target].values(), key=lambda row: (-row[0], row[1]))
    assert flips <= 1 and decibels > FORMS[target]


@pytest.mark.slow
def test_the_accuracy_of_a_tensorrt_file_is_what_openvino_makes_of_it(rows, tiny_build, random_images, tmp_path,
                                                                      monkeypatch):
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path))
    folder = tiny_build("simulated", accuracy=False, targets=["tensorrt"]).folder
    model = OnnxModel.read(folder / "int8.tensorrt.onnx", precision="int8", target="tensorrt")
    images = random_images(IMAGES)
    exact = Oracle(model).run(next(images.batches(IMAGES))).astype(np.float32)
    assert sqnr_db(exact, logits_of(model, images)) == pytest.approx(rows["tensorrt"]["hint f32"][1], abs=1.0)


@pytest.mark.slow
def test_onnxruntimes_rounding_of_their_biases_is_not_in_the_file(rows):
    assert rows["tensorrt"]["without WeightBiasQuantization"][1] > rows["tensorrt"]["default"][1]


@pytest.mark.slow
def test_the_judge_of_each_form_has_as_few_flips_as_any(rows):
    judged = {"cpu": "default", "openvino": "hint f32", "tensorrt": "hint f32", "tensorrt-fp16": "hint f32"}
    for target, how in judged.items():
        assert rows[target][how][0] <= min(flips for flips, _ in rows[target].values()) + 1
