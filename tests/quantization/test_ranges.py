"""Ranges are those of the true activations over all calibration images, and never of forbidden ones."""

import numpy as np
import onnx
import pytest

from edge_se.core.errors import CalibrationError
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.rewrites import checked
from edge_se.quantization import ranges
from edge_se.quantization.ranges import collect


def ranges_of(model, images, method="minmax"):
    return collect(model, images).ranges(method, "uint8")


@pytest.fixture(scope="module")
def images(random_images):
    return random_images(75)


@pytest.fixture(scope="module")
def activations(tiny_onnx, images, run_onnx):
    """Name -> all activations, from one run over all images at once."""
    proto = tiny_onnx.copy()
    names = [node.output[0] for node in proto.graph.node]
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    batch = next(images.batches(len(images)))
    return {"images": batch, **dict(zip(names, run_onnx(proto, batch)))}


def test_min_and_max_over_all_images(tiny_onnx, images, activations):
    found = ranges_of(tiny_onnx, images)
    assert found.bounds.keys() == activations.keys()
    for name, values in activations.items():
        np.testing.assert_allclose(found.bounds[name], (values.min(), values.max()), rtol=1e-4, atol=1e-5)
    assert (found.method, found.model_sha256, found.calibration) == ("minmax", tiny_onnx.sha256, images.name)


def test_an_extreme_in_the_last_image_counts(tiny_onnx, images, random_images):
    pixels = np.full((70, 3, 32, 32), 120, np.uint8)
    pixels[-1] = 255 * (images.pixels[0] > 128)
    extreme = type(images)(name="e", split="calibration", pixels=pixels, labels=None)
    low, high = ranges_of(tiny_onnx, extreme).bounds["images"]
    batch = next(extreme.batches(70))
    assert (low, high) == (batch.min(), batch.max())


def test_provenance_and_progress(tiny_onnx, images):
    heard = []
    statistics = collect(tiny_onnx, images, heard.append)
    assert sum(heard) == statistics.images == 75
    assert max(heard) <= ranges.LARGEST_BATCH
    assert (statistics.calibration_sha256, statistics.preprocessing) == (images.sha256, images.preprocessing)


def test_memory_stays_bounded_for_large_nets(tiny_onnx, monkeypatch):
    assert ranges._batch_size(tiny_onnx) == ranges.LARGEST_BATCH
    monkeypatch.setattr(ranges, "FLOATS_PER_RUN", 1)
    assert ranges._batch_size(tiny_onnx) == 1


@pytest.mark.parametrize("split", ["train", "calibration", "synthetic"])
def test_images_that_may_calibrate(tiny_onnx, random_images, split):
    assert collect(tiny_onnx, random_images(2, split)).images == 2


@pytest.mark.parametrize("split", ["test", "validation"])
def test_images_that_must_not(tiny_onnx, random_images, split):
    with pytest.raises(CalibrationError, match=f"images of the {split} split must not set ranges"):
        ranges_of(tiny_onnx, random_images(2, split))


def test_images_of_another_size(tiny_onnx, random_images):
    with pytest.raises(CalibrationError, match=r"images are \(3, 16, 16\), the model takes \(3, 32, 32\)"):
        ranges_of(tiny_onnx, random_images(2, size=16))


def test_an_unknown_method(tiny_onnx, random_images):
    with pytest.raises(CalibrationError, match=r"--method: unknown method 'minmaks'; did you mean 'minmax'\?"):
        ranges_of(tiny_onnx, random_images(2), "minmaks")


@pytest.mark.parametrize("count", [3, 8, 9])
def test_a_fixed_batch_that_does_not_divide_the_images(tiny_onnx, random_images, count):
    proto = tiny_onnx.copy()
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 3
    del proto.graph.value_info[:]
    fixed = OnnxModel.of(checked(proto))
    bounds = ranges_of(fixed, random_images(count)).bounds
    for name, expected in ranges_of(tiny_onnx, random_images(count)).bounds.items():
        np.testing.assert_allclose(bounds[name], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_a_model_that_overflows_is_refused(graph_of, random_images, bad):
    weight = np.full((4, 3, 1, 1), bad, np.float32)
    model = OnnxModel.of(graph_of([("Conv", ["x", "w"], ["c"]), ("GlobalAveragePool", ["c"], ["y"])], {"w": weight}))
    with pytest.raises(CalibrationError, match=r"calibration: tensor '.' .*(not finite|nan|inf)"):
        ranges_of(model, random_images(2, size=8))


def test_one_bad_image_among_many_is_found(graph_of, random_images):
    """exp of the brightest pixel overflows in one image of the last batch only."""
    pixels = np.zeros((40, 3, 8, 8), np.uint8)
    pixels[-1] = 255
    model = OnnxModel.of(graph_of([("Mul", ["x", "k"], ["m"]), ("Exp", ["m"], ["y"])], {"k": np.float32(60)}))
    images = type(random_images(1))(name="i", split="calibration", pixels=pixels, labels=None)
    with pytest.raises(CalibrationError, match="tensor 'y'"):
        ranges_of(model, images)
