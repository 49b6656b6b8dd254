"""Logits are computed once per file and image set, and never taken from a cache entry that is not theirs."""

import io
from dataclasses import replace

import numpy as np
import pytest

from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.core import environment
from edge_se.core.errors import EdgeSeError, ModelError
from edge_se.data.preprocessing import CIFAR10, tensor
from edge_se.evaluation import accuracy
from edge_se.evaluation.accuracy import flips, logits_of, predicted, top1
from edge_se.graph.metadata import write_metadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.rewrites import checked


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path))
    return tmp_path / "logits"


@pytest.fixture
def opened(monkeypatch):
    """How often a session was opened."""
    times, open_ = [], OnnxRuntime.open

    def counting(*arguments):
        times.append(1)
        return open_(*arguments)
    monkeypatch.setattr(OnnxRuntime, "open", counting)
    return times


def fixed_batch(model, size):
    proto = model.copy()
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = size
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = size
    del proto.graph.value_info[:]
    return OnnxModel.of(checked(proto))


def test_top1_and_flips():
    logits = np.float32([[1, 2, 3], [3, 2, 1], [1, 3, 2], [0, 0, 1]])
    assert top1(logits, np.uint8([2, 0, 0, 0])) == 50.0
    assert flips(logits, logits[[0, 1, 1, 0]]) == 1
    assert flips(logits, 2 * logits - 1) == 0


NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(("logits", "right", "first"), [
    ([0, 1, 2, 3, 4, 5, 6], False, False), ([9, 1, 2, 3, 4, 5, 6], True, True), ([3, 1, 2, 3, 4, 5, 6], False, True),
    ([NAN, 1, 2, 3, 4, 5, 6], False, False), ([9, 1, 2, NAN, 4, 5, 6], False, False), ([NAN] * 7, False, False),
    ([INF, 1, 2, 3, 4, 5, 6], True, True), ([-INF, 1, 2, 3, 4, 5, 6], False, False), ([-INF] * 7, True, True)])
def test_an_image_that_is_answered_with_nan_has_no_class(logits, right, first):
    answer, label = np.float32([logits]), np.array([0])
    told = bool((predicted(answer) == label)[0]), bool(accuracy.among_first(answer, label, accuracy.TOP)[0])
    assert told == (right, first) and top1(answer, label) == 100 * right
    sure = np.float32([[9, 1, 2, 3, 4, 5, 6]])
    assert flips(answer, sure) == (not right) and accuracy.drop_from(sure, answer, label, 0.025).drop == (not right)


def test_they_are_the_models_in_order(tiny_onnx, random_images, run_onnx, cache, monkeypatch):
    monkeypatch.setattr(accuracy, "BATCH", 4)
    images, heard = random_images(10, "test"), []
    logits = logits_of(tiny_onnx, images, heard.append)
    assert logits.shape == (10, 10) and logits.dtype == np.float32
    np.testing.assert_allclose(logits, run_onnx(tiny_onnx, tensor(images.pixels, CIFAR10))[0], rtol=1e-4, atol=1e-4)
    assert heard == [4, 4, 2]


def told(model, **changes):
    """The same graph, which says another normalisation of itself."""
    proto = model.copy()
    write_metadata(proto, replace(model.metadata, preprocessing=replace(CIFAR10, **changes)))
    return OnnxModel.of(proto)


@pytest.mark.parametrize("changes", [{"mean": (0.1, 0.2, 0.3)}, {"std": (1.0, 0.5, 0.25)}])
def test_the_normalisation_is_the_files(tiny_onnx, random_images, run_onnx, cache, changes):
    images, model = random_images(4), told(tiny_onnx, **changes)
    pixels = tensor(images.pixels, model.metadata.preprocessing)
    assert not np.allclose(logits_of(tiny_onnx, images), logits_of(model, images))  # nor shared in the cache
    np.testing.assert_allclose(logits_of(model, images), run_onnx(tiny_onnx, pixels)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("changes", [{"mean": (0.1, 0.2, 0.3)}, {"std": (1.0, 0.5, 0.25)}])
def test_the_images_normalisation_is_used_where_the_file_says_none(tiny_onnx, random_images, run_onnx, cache, changes):
    proto = tiny_onnx.copy()
    del proto.metadata_props[:]
    model, images = OnnxModel.of(proto), random_images(4)
    other = images.seen_by(replace(CIFAR10, **changes))
    assert not np.allclose(logits_of(model, images), logits_of(model, other))
    expected = run_onnx(tiny_onnx, tensor(images.pixels, other.preprocessing))[0]
    np.testing.assert_allclose(logits_of(model, other), expected, rtol=1e-4, atol=1e-4)


def test_the_second_time_no_session_is_opened(tiny_onnx, random_images, cache, opened):
    images, heard = random_images(5), []
    first = logits_of(tiny_onnx, images)
    np.testing.assert_array_equal(logits_of(tiny_onnx, images, heard.append), first)
    assert (len(opened), heard) == (1, [5])


def test_another_model_or_other_images_are_computed(tiny_onnx, tiny_plain_onnx, random_images, cache, opened):
    logits_of(tiny_onnx, random_images(5))
    logits_of(tiny_plain_onnx, random_images(5))
    logits_of(tiny_onnx, random_images(5, seed=1))
    logits_of(tiny_onnx, random_images(6))
    assert len(opened) == len(list(cache.iterdir())) == 4


def test_answers_of_another_revision_are_not_used(tiny_onnx, random_images, cache, opened, monkeypatch):
    logits_of(tiny_onnx, random_images(5))
    monkeypatch.setattr(OnnxRuntime, "revision", OnnxRuntime.revision + 1)
    logits_of(tiny_onnx, random_images(5))
    assert len(opened) == 2


def saved(array, **options):
    content = io.BytesIO()
    np.save(content, array, **options)
    return content.getvalue()


def archived(array):
    content = io.BytesIO()
    np.savez(content, array)
    return content.getvalue()


GOOD = np.zeros((5, 10), np.float32)
BROKEN = {"empty": b"", "garbage": b"garbage", "truncated": saved(GOOD)[:-7], "header": saved(GOOD)[:40],
          "broken header": saved(GOOD).replace(b"'shape'", b"(((((((", 1),
          "zip": b"PK\x03\x04 broken", "archive": archived(GOOD), "other count": saved(GOOD[:4]),
          "other rank": saved(GOOD[0]), "objects": saved(np.array([None] * 5), allow_pickle=True),
          "text": saved(np.full((5, 10), "x"))}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_entry_is_computed_again_and_mended(tiny_onnx, random_images, cache, opened, damage):
    images = random_images(5)
    good = logits_of(tiny_onnx, images)
    (entry,) = cache.iterdir()
    entry.write_bytes(BROKEN[damage])
    np.testing.assert_array_equal(logits_of(tiny_onnx, images), good)
    np.testing.assert_array_equal(logits_of(tiny_onnx, images), good)
    assert len(opened) == 2


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tiny_onnx, random_images, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "file"))
    assert logits_of(tiny_onnx, random_images(3)).shape == (3, 10)


@pytest.mark.parametrize("count", [1, 4, 6, 8])
def test_a_fixed_batch_is_filled_up_and_the_filling_dropped(tiny_onnx, random_images, cache, count):
    images = random_images(count)
    fixed = fixed_batch(tiny_onnx, 4)
    assert fixed.input_shape[0] == 4
    np.testing.assert_allclose(logits_of(fixed, images), logits_of(tiny_onnx, images), rtol=1e-4, atol=1e-4)


def test_images_of_another_size_are_refused(tiny_onnx, random_images, cache):
    with pytest.raises(ModelError, match=r"takes images of \(3, 32, 32\), random-calibration has \(3, 16, 16\)"):
        logits_of(tiny_onnx, random_images(3, size=16))


def test_what_another_run_computed_is_taken(tiny_onnx, random_images, cache, opened):
    images = random_images(6)
    known = np.arange(60, dtype=np.float32).reshape(6, 10)
    accuracy.remember(tiny_onnx, images, known)
    np.testing.assert_array_equal(logits_of(tiny_onnx, images), known)
    assert not opened
    assert not np.array_equal(logits_of(tiny_onnx, random_images(6, "train").first(5)), known[:5])  # its own images


@pytest.mark.parametrize("size, batch", [((8, 8), 16), ((32, 32), 16), ((64, 64), 4), ((64, 128), 2), ((224, 224), 1),
                                         ((2048, 2048), 1)])
def test_larger_images_come_in_smaller_batches(random_images, size, batch):
    assert accuracy.batch_of(random_images(1).seen_by(replace(CIFAR10, size=size))) == batch


@pytest.mark.parametrize(("target", "batch"), [("any", 16), ("cpu", 16), ("litert", 16), ("litert-dynamic", 1)])
def test_images_with_ranges_of_their_own_come_one_by_one(random_images, target, batch):
    assert accuracy.batch_of(random_images(1), target) == batch


@pytest.mark.parametrize("count", [1, 16, 17, 75])
def test_the_bits_do_not_depend_on_the_processors(tiny_onnx, random_images, cache, opened, monkeypatch, count):
    images, found = random_images(count), []
    for processors in (1, 2, 5):
        monkeypatch.setattr(environment, "cpu_count", lambda processors=processors: processors)
        monkeypatch.setenv("EDGE_SE_CACHE", str(cache / str(processors)))
        found.append(logits_of(tiny_onnx, images).tobytes())
    assert len(opened) == 3 and len(set(found)) == 1


def test_predictions_are_those_of_each_image_alone(tiny_onnx, random_images, cache, monkeypatch):
    images = random_images(200)
    many = logits_of(tiny_onnx, images)
    monkeypatch.setattr(accuracy, "BATCH", 1)
    alone = logits_of(tiny_onnx, images)
    assert flips(many, alone) <= 2 and len(list(cache.iterdir())) == 2
    np.testing.assert_allclose(many, alone, rtol=1e-4, atol=1e-4)


def test_a_bound_that_is_no_number_is_told_before_anything_is_computed(tiny_onnx, random_images, cache, opened,
                                                                      monkeypatch):
    monkeypatch.setenv("EDGE_SE_CACHE_MIB", "much")
    with pytest.raises(EdgeSeError, match="no whole number of MiB"):
        logits_of(tiny_onnx, random_images(2))
    assert not opened


def test_without_a_cache_everything_is_computed_again(tiny_onnx, random_images, cache, opened, monkeypatch):
    monkeypatch.setenv("EDGE_SE_CACHE_MIB", "0")
    images = random_images(3)
    np.testing.assert_array_equal(logits_of(tiny_onnx, images), logits_of(tiny_onnx, images))
    assert len(opened) == 2 and not cache.exists()


def test_reading_an_entry_keeps_it_from_going(tiny_onnx, tiny_plain_onnx, random_images, cache, opened, monkeypatch):
    images = random_images(5)
    for model in (tiny_onnx, tiny_plain_onnx):
        logits_of(model, images)
    first, second = sorted(cache.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    monkeypatch.setattr(accuracy, "bound", lambda: first.stat().st_size + second.stat().st_size)
    logits_of(tiny_onnx, images)
    logits_of(tiny_onnx, random_images(5, seed=1))
    assert first.exists() and not second.exists() and len(opened) == 3
