"""Ranges are those of the true activations over all calibration images, and never of forbidden ones."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper

from edge_se.core.errors import CalibrationError
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.rewrites import checked
from edge_se.quantization import histograms, watching
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS
from edge_se.quantization.watching import quantizable, with_clipped


def ranges_of(model, images, method="minmax"):
    return collect(model, images).ranges(method, "uint8")


@pytest.fixture(scope="module")
def images(random_images):
    return random_images(75)


@pytest.fixture(scope="module")
def activations(tiny_onnx, images, run_onnx):
    """Name -> all activations, from one run over all images at once."""
    proto = tiny_onnx.copy()
    names = quantizable(proto)
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
    assert max(heard) <= watching.LARGEST_BATCH
    assert (statistics.calibration_sha256, statistics.preprocessing) == (images.sha256, images.preprocessing)


@pytest.mark.parametrize("floats, batch", [(1, watching.LARGEST_BATCH), (4 * 2**20, 4), (10**9, 1)])
def test_images_at_once(floats, batch):
    assert watching.batch_of(floats) == batch


def test_weights_are_no_activations(tiny_onnx):
    floats = watching._floats_of_an_image(tiny_onnx)
    proto = tiny_onnx.copy()
    proto.graph.value_info.extend(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
                                  for tensor in proto.graph.initializer)
    assert watching._floats_of_an_image(OnnxModel.of(proto)) == floats > 0


@pytest.mark.parametrize("processors", [1, 2, 5])
def test_threads_change_nothing(tiny_onnx, images, monkeypatch, processors):
    monkeypatch.setattr(watching, "cpu_count", lambda: processors)
    monkeypatch.setattr(watching, "LARGEST_BATCH", 9)
    one, other = collect(tiny_onnx, images), collect(tiny_onnx, images)
    np.testing.assert_array_equal(one.logits, other.logits)
    for name, histogram in one.histograms.items():
        same = other.histograms[name]
        assert (histogram.low, histogram.high, histogram.limit) == (same.low, same.high, same.limit)
        np.testing.assert_array_equal(histogram.counts, same.counts)


def test_the_answers_come_along(tiny_onnx, images, run_onnx):
    answers = run_onnx(tiny_onnx.proto, next(images.batches(len(images))))[0]
    np.testing.assert_allclose(collect(tiny_onnx, images).logits, answers, rtol=1e-4, atol=1e-5)


def test_what_only_a_relu_or_clip_reads_is_not_watched(graph_of):
    proto = graph_of([("Conv", ["x", "w"], ["a"]), ("Relu", ["a"], ["b"]),           # a: not
                      ("Conv", ["b", "v"], ["c"]), ("Clip", ["c", "", "six"], ["d"]),  # c: not
                      ("Conv", ["d", "v"], ["e"]), ("Relu", ["e"], ["f"]), ("Add", ["e", "f"], ["g"]),  # e: read twice
                      ("Exp", ["g"], ["h"]), ("Log", ["h"], ["i"]),                  # h: no target quantizes Exp or Log
                      ("Relu", ["i"], ["y"])],
                     {"w": np.ones((4, 3, 1, 1), np.float32), "v": np.ones((4, 4, 1, 1), np.float32),
                      "six": np.float32(6)})
    assert quantizable(proto) == ["b", "d", "e", "f", "g", "y"]
    found = with_clipped(proto, {"b": (0, 1), "d": (0, 6), "e": (-1, 1), "f": (0, 1), "y": (0, 2)})
    assert (found["a"], found["c"], found["e"], found["i"]) == ((0, 1), (0, 6), (-1, 1), (0, 2))


@pytest.mark.parametrize("target", ["cpu", "openvino", "tensorrt"])
def test_what_is_not_watched_changes_no_file(tiny_onnx, images, monkeypatch, target):
    rules = TARGETS[target]
    own, few = collect(tiny_onnx, images, targets=[rules]), collect(tiny_onnx, images)
    monkeypatch.setattr(watching, "_clip_of", lambda name, view: None)
    every = collect(tiny_onnx, images)
    monkeypatch.undo()
    assert own.histograms.keys() <= few.histograms.keys() < every.histograms.keys()
    for placement, watched in (("all", (every, few, own)), ("conv-only", (few, own))):
        files = {quantize(tiny_onnx, statistics.ranges("mse", rules.activations), rules,
                          place(tiny_onnx.proto, rules, placement)).sha256 for statistics in watched}
        assert len(files) == 1, placement


def test_each_target_is_watched_where_it_quantizes(graph_of):
    proto = graph_of([("Conv", ["x", "w"], ["a"]), ("Relu", ["a"], ["b"]), ("Conv", ["b", "v"], ["c"]),
                      ("Conv", ["b", "v"], ["d"]), ("Conv", ["d", "v"], ["e"]), ("Add", ["e", "c"], ["f"]),
                      ("MaxPool", ["f"], ["g"], {"kernel_shape": [2, 2]}), ("Softmax", ["g"], ["y"])],
                     {"w": np.ones((4, 3, 1, 1), np.float32), "v": np.ones((4, 4, 1, 1), np.float32)})

    def watched(*names):
        return quantizable(proto, [TARGETS[name] for name in names])
    assert watched() == ["y"]
    assert watched("openvino") == ["b", "d", "y"]
    assert watched("tensorrt") == ["b", "c", "d", "y"]  # and the shortcut
    assert watched("cpu") == watched("openvino", "cpu") == quantizable(proto) == ["b", "c", "d", "e", "f", "g", "y"]
    convolutions = replace(TARGETS["cpu"], operators=("Conv",))
    assert quantizable(proto, [convolutions]) == ["b", "c", "d", "e", "y"]  # in `conv-only` its Relus are, too


def test_what_was_not_collected_is_told(tiny_onnx, images):
    own = collect(tiny_onnx, images, targets=[TARGETS["openvino"]])
    assert own.lacks(tiny_onnx, [TARGETS["openvino"]]) == []
    lacking = own.lacks(tiny_onnx, [TARGETS["cpu"], TARGETS["openvino"]])
    assert lacking and set(lacking).isdisjoint(own.histograms)


def test_a_sample_of_the_values_is_as_good(tiny_onnx, images, monkeypatch, run_onnx):
    """More than `COUNTED` values a tensor: extremes stay exact, and files lose no accuracy."""
    batch, rules = next(images.batches(len(images))), TARGETS["cpu"]
    reference, exact = run_onnx(tiny_onnx.proto, batch)[0], collect(tiny_onnx, images)
    monkeypatch.setattr(histograms, "COUNTED", 2**16)
    sampled = collect(tiny_onnx, images)
    assert sampled.histograms["images"].counts.sum() < 2**16 < exact.histograms["images"].counts.sum() / 3
    for name, histogram in exact.histograms.items():
        assert (histogram.low, histogram.high) == (sampled.histograms[name].low, sampled.histograms[name].high)
    placement = place(tiny_onnx.proto, rules, "all")

    def quality(statistics, method):
        quantized = quantize(tiny_onnx, statistics.ranges(method, "uint8"), rules, placement)
        return sqnr_db(reference, run_onnx(quantized.proto, batch)[0])
    for method in ("mse", "percentile", "entropy"):
        assert quality(sampled, method) > quality(exact, method) - 0.5, method


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
