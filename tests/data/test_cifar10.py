"""The official bytes or a DataError: nothing altered, truncated, missing or guessed is ever read."""

import importlib.util
import os
import sys

import numpy as np
import pytest

from edge_se.core.errors import DataError, UnavailableError
from edge_se.data import cifar10
from edge_se.data.cifar10 import BINARY_FOLDER, CLASSES, MEAN, RECORD_BYTES, STD, TORCHVISION_FOLDER, Cifar10


@pytest.fixture
def copy_of(cifar, tmp_path):
    """A folder whose files are links to the official ones, but for one that is a copy to be damaged."""

    def make(name):
        folder = tmp_path / BINARY_FOLDER
        folder.mkdir()
        for path in (cifar.root / BINARY_FOLDER).glob("*.bin"):
            if path.name == name:
                (folder / name).write_bytes(path.read_bytes())
            else:
                (folder / path.name).symlink_to(path)
        return folder / name
    return make


class FakeTorchvision:
    """What torchvision's CIFAR10 offers: `data` (N, 32, 32, 3) and a list of labels."""

    def __init__(self, pixels, labels):
        self.data, self.targets = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)), labels.tolist()


def test_the_official_files_are_read(cifar):
    cifar.verify()
    pixels, labels = cifar.read("test")
    assert pixels.shape == (10_000, 3, 32, 32) and labels.shape == (10_000,)
    assert pixels.dtype == labels.dtype == np.uint8
    assert np.bincount(labels).tolist() == [1000] * len(CLASSES)
    assert CLASSES[labels[0]] == "cat"  # the first test image is the known cat


def test_mean_and_deviation_are_those_of_the_training_pixels(cifar):
    pixels, _ = cifar.read("train")
    assert len(pixels) == 50_000
    sample = pixels[::5] / 255.0
    np.testing.assert_allclose(sample.mean((0, 2, 3)), MEAN, atol=2e-3)
    np.testing.assert_allclose(sample.std((0, 2, 3)), STD, atol=2e-3)


@pytest.mark.parametrize("name", ["test_batch.bin", "data_batch_3.bin"])
def test_an_altered_byte_is_found(copy_of, name):
    path = copy_of(name)
    with open(path, "r+b") as file:
        file.seek(12_345)
        byte = file.read(1)[0]
        file.seek(12_345)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(DataError, match=rf"{BINARY_FOLDER}/{name}: SHA-256 differs .*altered"):
        Cifar10(root=path.parents[1], binary=True).verify()


def test_a_truncated_file_is_found(copy_of):
    path = copy_of("test_batch.bin")
    os.truncate(path, 10_000 * RECORD_BYTES - 1)
    with pytest.raises(DataError, match=r"test_batch\.bin: 30,729,999 bytes instead of 30,730,000: truncated"):
        Cifar10(root=path.parents[1], binary=True).read("test")


def test_a_missing_file_is_found(copy_of):
    path = copy_of("test_batch.bin")
    path.unlink()
    with pytest.raises(DataError, match=r"test_batch\.bin: cannot be read \(No such file.*data fetch"):
        Cifar10(root=path.parents[1], binary=True).read("test")


def test_torchvisions_layout_gives_the_same_bytes(cifar, monkeypatch, tmp_path):
    fakes = {source: FakeTorchvision(*cifar.read(source)) for source in ("train", "test")}
    monkeypatch.setattr(cifar10, "_torchvision_cifar10", lambda root, source, download: fakes[source])
    (tmp_path / TORCHVISION_FOLDER).mkdir()
    through_torchvision = cifar10.find(tmp_path)
    assert not through_torchvision.binary
    for source in ("train", "test"):
        for ours, theirs in zip(cifar.read(source), through_torchvision.read(source)):
            np.testing.assert_array_equal(ours, theirs)
    fakes["test"].targets[17] ^= 1
    with pytest.raises(DataError, match="altered"):
        through_torchvision.read("test")


def test_fetch_stores_the_official_files(cifar, monkeypatch, tmp_path):
    fakes = {source: FakeTorchvision(*cifar.read(source)) for source in ("train", "test")}
    monkeypatch.setattr(cifar10, "_torchvision_cifar10", lambda root, source, download: fakes[source])
    fetched = cifar10.fetch(tmp_path)
    assert fetched.binary and cifar10.find(tmp_path) == fetched
    name = "data_batch_2.bin"
    assert (tmp_path / BINARY_FOLDER / name).read_bytes() == (cifar.root / BINARY_FOLDER / name).read_bytes()


def test_torchvisions_failures_are_data_errors(tmp_path):
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("needs torchvision")
    (tmp_path / TORCHVISION_FOLDER).mkdir()
    with pytest.raises(DataError, match="torchvision could not read CIFAR-10"):
        cifar10.find(tmp_path).read("test")


def test_torchvisions_layout_without_torchvision(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "edge_se.data.torchvision_import", None)
    (tmp_path / TORCHVISION_FOLDER).mkdir()
    with pytest.raises(UnavailableError, match="needs torchvision; pip install"):
        cifar10.find(tmp_path).read("test")


class TestFind:
    @pytest.fixture(autouse=True)
    def _nowhere(self, monkeypatch, tmp_path):
        monkeypatch.delenv("EDGE_SE_DATA", raising=False)
        monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "cache"))

    def test_nowhere(self, tmp_path):
        assert cifar10.find() is None
        with pytest.raises(DataError, match=r"CIFAR-10 was not found; run `edge-se data fetch`"):
            cifar10.require()

    def test_a_named_folder_without_data_is_an_error_not_a_fallback(self, tmp_path, monkeypatch):
        (tmp_path / "cache" / "data" / BINARY_FOLDER).mkdir(parents=True)
        (tmp_path / "empty").mkdir()
        for named in ("empty", "missing"):
            with pytest.raises(DataError, match=f"{named}: holds neither"):
                cifar10.find(tmp_path / named)
        monkeypatch.setenv("EDGE_SE_DATA", str(tmp_path / "empty"))
        with pytest.raises(DataError, match="empty: holds neither"):
            cifar10.find()

    def test_the_order_is_argument_variable_cache(self, tmp_path, monkeypatch):
        for name in ("argument", "variable", "cache/data"):
            (tmp_path / name / BINARY_FOLDER).mkdir(parents=True)
        assert cifar10.find() == Cifar10(root=tmp_path / "cache" / "data", binary=True)
        monkeypatch.setenv("EDGE_SE_DATA", str(tmp_path / "variable"))
        assert cifar10.find() == Cifar10(root=tmp_path / "variable", binary=True)
        assert cifar10.find(tmp_path / "argument") == Cifar10(root=tmp_path / "argument", binary=True)

    def test_the_folder_itself_may_be_named_and_binary_goes_first(self, tmp_path):
        (tmp_path / BINARY_FOLDER).mkdir()
        (tmp_path / TORCHVISION_FOLDER).mkdir()
        here = Cifar10(root=tmp_path, binary=True)
        assert cifar10.find(tmp_path / BINARY_FOLDER) == cifar10.find(tmp_path) == here
