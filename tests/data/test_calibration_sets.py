"""INT8 ranges never come from the test or validation images, and a broken archive is one message."""

import json
import zipfile

import numpy as np
import pytest

from edge_se.core.assets import asset
from edge_se.core.errors import CalibrationError, DataError
from edge_se.data import calibration, splits
from edge_se.data.calibration import REAL, SYNTHETIC, bundled, load
from edge_se.data.layouts.pixel_archive import read_archive, write_archive
from edge_se.data.preprocessing import assumed


@pytest.fixture
def pixels(random_images):
    return random_images(5).pixels


def test_the_real_set_is_512_balanced_training_images_and_none_of_validation(cifar):
    images = load(None, cifar)
    assert (images.name, images.split, len(images)) == (REAL, "calibration", 512)
    assert set(np.bincount(images.labels)) == {51, 52}
    path = asset("calibration", f"{REAL}.json")
    chosen = set(splits._indices(splits.read_manifest(path), path, 50_000).tolist())
    sibling = asset("calibration", "cifar10-train45k.json")
    assert chosen <= set(splits._indices(splits.read_manifest(sibling), sibling, 50_000).tolist())
    validation = asset("calibration", "cifar10-val5k.json")
    assert not chosen & set(json.loads(validation.read_text())["indices"])


def test_without_the_data_set_the_synthetic_one_serves():
    images = load(None, None)
    assert (images.name, images.split, len(images), images.labels) == (SYNTHETIC, "synthetic", 256, None)
    assert images.pixels.std() > 10  # not blank


def test_both_are_bundled_by_name():
    assert {REAL, SYNTHETIC} <= set(bundled())


@pytest.mark.parametrize("name", ["cifar10-test10k", "cifar10-val5k"])
def test_test_and_validation_images_are_refused(cifar, name):
    with pytest.raises(CalibrationError, match=rf"{name}\.json: its images are of the (test|validation) split"):
        load(str(asset("calibration", f"{name}.json")), cifar)


def test_the_test_images_under_another_name_are_refused(tmp_path, cifar):
    document = json.loads(asset("calibration", "cifar10-test10k.json").read_text())
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(document | {"split": "calibration"}))
    with pytest.raises(CalibrationError, match="of the calibration split of 'test'"):
        load(str(path), cifar)


@pytest.mark.parametrize(("name", "message"), [
    ("cifar10-calib521", "unknown calibration set 'cifar10-calib521'; did you mean 'cifar10-calib512'?"),
    ("images.zip", "unknown calibration set 'images.zip'; .*an .npz of pixels, .* or a folder of images"),
    ("missing.npz", "missing.npz: no such calibration set"),
])
def test_unknown_sets(name, message):
    with pytest.raises(CalibrationError, match=message):
        load(name, None)


def test_a_missing_manifest():
    with pytest.raises(DataError, match=r"missing\.json: no such file"):
        load("missing.json", None)


def test_an_archive_comes_back(tmp_path, pixels):
    write_archive(tmp_path / "mine.npz", pixels)
    images = load(str(tmp_path / "mine.npz"), None)
    np.testing.assert_array_equal(images.pixels, pixels)
    assert (images.name, images.split, images.labels) == ("mine", "calibration", None)
    write_archive(tmp_path / "synthetic-5.npz", pixels)
    assert read_archive(tmp_path / "synthetic-5.npz").split == "synthetic"


def test_equal_images_give_equal_archives(tmp_path, pixels, monkeypatch):
    write_archive(tmp_path / "a.npz", pixels)
    monkeypatch.setattr("time.time", lambda: 2e9)
    write_archive(tmp_path / "b.npz", pixels)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert {info.date_time[0] for info in zipfile.ZipFile(tmp_path / "a.npz").infolist()} == {1980}


@pytest.mark.parametrize(("arrays", "message"), [
    ({"images": np.zeros((2, 3, 4, 4), np.uint8)}, "not an .npz with an array 'pixels'"),
    ({"pixels": np.zeros((2, 3, 4, 4), np.float32)}, r"'pixels' is float32 \(2, 3, 4, 4\), not uint8"),
    ({"pixels": np.zeros((2, 4, 4, 3), np.uint8)}, r"'pixels' is uint8 \(2, 4, 4, 3\)"),
    ({"pixels": np.zeros((3, 4, 4), np.uint8)}, r"'pixels' is uint8 \(3, 4, 4\)"),
    ({"pixels": np.zeros((0, 3, 4, 4), np.uint8)}, r"'pixels' is uint8 \(0, 3, 4, 4\)"),
    ({"pixels": np.array([object()])}, "not an .npz with an array 'pixels'"),  # would need pickle
])
def test_wrong_arrays(tmp_path, arrays, message):
    path = tmp_path / "set.npz"
    np.savez(path, **arrays)
    with pytest.raises(CalibrationError, match=rf"set\.npz: {message}"):
        read_archive(path)


@pytest.mark.parametrize("damage", ["empty", "garbage", "truncated", "flipped", "npy"])
def test_broken_archives(tmp_path, pixels, damage):
    path = tmp_path / "set.npz"
    write_archive(path, pixels)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes({"empty": b"", "garbage": b"no archive", "truncated": content[:-100], "flipped": content,
                      "npy": b""}[damage])
    if damage == "npy":
        with open(path, "wb") as file:
            np.save(file, pixels)
    with pytest.raises(CalibrationError, match=r"not an \.npz with an array 'pixels'"):
        read_archive(path)


def test_a_manifest_without_the_data_set_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path))
    with pytest.raises(DataError, match="CIFAR-10 was not found; run `edge-se data fetch`"):
        calibration.load(REAL, None)


def test_the_bundled_synthetic_set_names_the_weights_it_was_made_from():
    with np.load(asset("calibration", f"{calibration.SYNTHETIC}.npz")) as archive:
        provenance = json.loads(str(archive["provenance"]))
    card = json.loads(asset("models", provenance["model"], "card.json").read_text())
    assert provenance["weights_sha256"] == card["weights"]["sha256"]
    assert provenance["images"] == 256


@pytest.mark.parametrize("size", [32, 64, 80, 224])
def test_enlarged_images_repeat_their_pixels(random_images, size):
    images = random_images(2)
    large = calibration.enlarged(images, assumed((size, size)))
    assert large.pixels.shape == (2, 3, size, size) and large.name == f"random-calibration-at-{size}"
    assert (large.split, large.preprocessing.size) == (images.split, (size, size))
    source = [position * 32 // size for position in range(size)]
    assert np.array_equal(large.pixels, images.pixels[:, :, source][:, :, :, source])
