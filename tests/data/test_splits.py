"""Train, validation and test: official sizes, disjoint, balanced, reproducible, and not to be tampered with."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from edge_se.core.assets import asset
from edge_se.core.errors import DataError
from edge_se.data import calibration, splits
from edge_se.data.images import drawn
from edge_se.data.preprocessing import CIFAR10, Preprocessing, tensor
from edge_se.data.splits import SPLITS, balanced, images_sha256, load, load_manifest, make_manifest


class Random:
    """A data set of 200 random images in place of CIFAR-10."""

    def __init__(self):
        random = np.random.default_rng(0)
        self.pixels = random.integers(0, 256, (200, 3, 32, 32), dtype=np.uint8)
        self.labels = (np.arange(200) % 10).astype(np.uint8)

    def read(self, source):
        return self.pixels, self.labels


@pytest.fixture
def manifest(tmp_path):
    """(changes) -> (path of a manifest with these changes, the data set it is of)."""
    data = Random()
    indices = np.array([3, 5, 8, 150])

    def write(**changes):
        document = make_manifest(split="calibration", source="train", pixels=data.pixels, labels=data.labels,
                                 indices=indices, how={"indices": indices.tolist()}) | changes
        path = tmp_path / "some.json"
        path.write_text(json.dumps({key: value for key, value in document.items() if value != "gone"}))
        return path, data
    return write


@pytest.fixture(scope="module")
def loaded(cifar):
    return {split: load(split, cifar) for split in SPLITS}


def indices_of(name, available=50_000):
    path = asset("calibration", f"{name}.json")
    return splits._indices(splits.read_manifest(path), path, available)


@pytest.mark.parametrize(("split", "size"), [("train", 45_000), ("validation", 5_000), ("test", 10_000)])
def test_sizes_and_balance(loaded, split, size):
    images = loaded[split]
    assert len(images) == size and images.split == split
    assert np.bincount(images.labels).tolist() == [size // 10] * 10


def test_train_and_validation_are_disjoint_and_together_the_whole():
    train, validation = indices_of("cifar10-train45k"), indices_of("cifar10-val5k")
    assert not set(train) & set(validation)
    assert len(np.union1d(train, validation)) == 50_000


def test_the_manifests_are_what_their_seeds_say(cifar):
    pixels, labels = cifar.read("train")
    validation = balanced(labels, 5_000, seed=1)
    train = np.setdiff1d(np.arange(len(labels)), validation)
    calibration = balanced(labels, 512, seed=2, among=train)
    for name, split, indices, how in (
            ("cifar10-val5k", "validation", validation, {"seed": 1, "indices": validation.tolist()}),
            ("cifar10-train45k", "train", train, {"all_except": "cifar10-val5k"}),
            ("cifar10-calib512", "calibration", calibration, {"seed": 2, "indices": calibration.tolist()})):
        made = make_manifest(split=split, source="train", pixels=pixels, labels=labels, indices=indices, how=how)
        assert json.loads(asset("calibration", f"{name}.json").read_text()) == made


def test_an_unknown_split():
    with pytest.raises(DataError, match=r"unknown split 'validaton'; did you mean 'validation'\?"):
        load("validaton", None)


def test_a_manifest_of_other_images_is_refused(cifar, tmp_path):
    for name in ("cifar10-val5k", "cifar10-train45k"):
        shutil.copy(asset("calibration", f"{name}.json"), tmp_path)
    path = tmp_path / "cifar10-val5k.json"
    document = json.loads(path.read_text())
    document["indices"][0] += 1
    path.write_text(json.dumps(document))
    for broken in (path, tmp_path / "cifar10-train45k.json"):  # the complement changed, too
        with pytest.raises(DataError, match=f"{broken.name}: the images at its indices are not those"):
            load_manifest(broken, cifar)


def test_a_manifest_names_its_images(manifest):
    path, data = manifest()
    images = load_manifest(path, data)
    assert (images.name, images.split, len(images)) == ("some", "calibration", 4)
    np.testing.assert_array_equal(images.pixels, data.pixels[[3, 5, 8, 150]])
    np.testing.assert_array_equal(images.labels, data.labels[[3, 5, 8, 150]])


@pytest.mark.parametrize(("changes", "message"), [
    ({"indices": [3, 5, 8, 200]}, r"its indices are not within 0\.\.199"),
    ({"indices": [-1, 5, 8, 150]}, r"its indices are not within 0\.\.199"),
    ({"indices": []}, "its indices are not within"),
    ({"indices": [[3, 5], [8, 150]]}, "its indices are not within"),
    ({"indices": 3}, "its indices"),
    ({"indices": "gone"}, "no list of integer 'indices'"),
    ({"indices": ["a"]}, "no list of integer 'indices'"),
    ({"indices": [3, [5]]}, "no list of integer 'indices'"),
    ({"indices": [2**70]}, "indices"),
    ({"indices": [3, 5, 150, 8]}, "the images at its indices are not those"),
    ({"sha256": "0" * 64}, "the images at its indices are not those"),
    ({"sha256": "gone"}, "not an index manifest: no 'sha256'"),
    ({"split": "gone"}, "not an index manifest: no 'split'"),
    ({"source": "valid"}, "source 'valid' is neither"),
    ({"schema": "edge-se/indices/2"}, "schema 'edge-se/indices/2' is not"),
    ({"all_except": "nowhere"}, "no such file"),
    ({"all_except": "../../etc/passwd"}, "all_except"),
    ({"all_except": "some"}, "all_except"),
])
def test_a_broken_manifest_is_a_data_error(manifest, changes, message):
    path, data = manifest(**changes)
    with pytest.raises(DataError, match=message):
        load_manifest(path, data)


def test_balanced_is_balanced_sorted_unique_and_decided_by_its_seed():
    labels = np.random.default_rng(0).integers(0, 10, 3000).astype(np.uint8)
    among = np.arange(0, 3000, 2)
    drawn = balanced(labels, 105, seed=4, among=among)
    assert np.bincount(labels[drawn]).tolist() == [11] * 5 + [10] * 5
    assert (np.diff(drawn) > 0).all() and np.isin(drawn, among).all()
    np.testing.assert_array_equal(drawn, balanced(labels, 105, seed=4, among=among))
    assert not np.array_equal(drawn, balanced(labels, 105, seed=5, among=among))


def test_the_hash_covers_pixels_labels_and_order(random_images):
    images = random_images(4)
    other = images.labels.copy()
    other[0] ^= 1
    hashes = {images.sha256, images_sha256(images.pixels, other), images_sha256(images.pixels, None),
              images_sha256(images.pixels[::-1], images.labels[::-1])}
    assert len(hashes) == 4
    transposed = np.ascontiguousarray(images.pixels.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert images_sha256(transposed, images.labels) == images.sha256  # the memory layout does not count


def test_normalising_is_the_plain_formula():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(3, axis=1)
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.3, 0.4)
    expected = [(pixels[0, c] / 255 - mean[c]) / std[c] for c in range(3)]
    normalised = tensor(pixels, Preprocessing(size=(16, 16), mean=mean, std=std))
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised[0], expected, rtol=1e-6, atol=1e-6)


def test_batches_are_in_order_and_the_last_is_shorter(random_images):
    images = random_images(7)
    batches = list(images.batches(3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(batches), tensor(images.pixels, CIFAR10))


def test_first(random_images):
    images = random_images(7, "test")
    head = images.first(2)
    assert (len(head), head.split, head.name) == (2, "test", images.name)
    np.testing.assert_array_equal(head.labels, images.labels[:2])
    assert random_images(7, labelled=False).first(2).labels is None


@pytest.mark.parametrize(("classes", "limit"), [(100, 30), (1000, 512), (31, 30)])
def test_of_more_classes_than_images_are_asked_for_any_may_be_drawn(classes, limit):
    """Not the first ones: ImageNet's are animals."""
    labels = np.repeat(np.arange(classes), 3)
    places = drawn(labels, limit, seed=0)
    own = labels[places]
    assert len(np.unique(own)) == len(places) == limit and (np.diff(places) > 0).all()
    thirds = np.histogram(own, bins=3, range=(0, classes))[0]
    assert (thirds > 0.2 * limit).all()
    assert drawn(labels, limit, seed=0).tolist() == places.tolist() != drawn(labels, limit, seed=1).tolist()


def test_the_images_that_were_drawn_of_few_classes_are_still_drawn():
    """Builds are of these."""
    labels = np.arange(5000) % 10
    assert drawn(labels, 512, 0)[:5].tolist() == [5, 10, 15, 20, 25]
    assert drawn(np.repeat([0, 1, 2], [3, 40, 9]), 20, 7).tolist() == [
        0, 1, 2, 12, 13, 14, 20, 29, 38, 39, 41, 43, 44, 45, 46, 47, 48, 49, 50, 51]


def test_the_first_images_stand_for_all_in_a_mixed_order_alone(random_images):
    """CIFAR-10's and synthetic ones lie so; others may lie class by class."""
    images = replace(random_images(60), labels=np.repeat(np.arange(3, dtype=np.uint8), 20), mixed=False)
    places = images.sampled(12)
    assert np.bincount(images.labels[places]).tolist() == [4, 4, 4]
    np.testing.assert_array_equal(images.sample(12).pixels, images.pixels[places])
    for mixed in (replace(images, mixed=True), calibration.load("synthetic-256", None)):
        assert mixed.sampled(4).tolist() == [0, 1, 2, 3]
