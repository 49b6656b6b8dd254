"""One suite for every layout of images, and a toy that is one file more."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edge_se.core.errors import CalibrationError, DataError
from edge_se.data import layouts as package
from edge_se.data.calibration import load
from edge_se.data.cifar10 import BINARY_FOLDER
from edge_se.data.layout import Wanted, layout_of, layouts
from edge_se.data.layouts.pixel_archive import write_archive
from edge_se.data.preprocessing import CIFAR10

OTHER = replace(CIFAR10, mean=(0.1, 0.2, 0.3), labels=())
NAMES = [layout.name for layout in layouts()]
TOY = '''
"""A .txt of grey values, one image a line."""
import numpy as np
from edge_se.data.layout import Layout
from edge_se.data.splits import ImageSet

def read(path, wanted):
    values = np.array([int(line) for line in path.read_text().split()][: wanted.limit], np.uint8)
    pixels = np.broadcast_to(values[:, None, None, None], (len(values), 3, *wanted.preprocessing.size))
    return ImageSet(name=path.stem, split="calibration", pixels=pixels, labels=None, preprocessing=wanted.preprocessing)

LAYOUT = Layout(name="grey list", about="a .txt of grey values", tells=lambda path: path.suffix == SUFFIX,
                calibration=read)
'''


@pytest.fixture
def samples(tmp_path, random_images):
    """What a user names, by layout; what is not here needs the data set itself."""
    pixels = random_images(5).pixels
    folder, archive, indices, cifar = (tmp_path / name for name in ("pictures", "mine.npz", "mine.json", "data"))
    folder.mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{number}.png")
    write_archive(archive, pixels)
    indices.write_text("{}")
    (cifar / BINARY_FOLDER).mkdir(parents=True)
    return {"image folder": folder, "pixel archive": archive, "CIFAR-10 indices": indices, "CIFAR-10": cifar}


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_told_by_its_own_layout(samples, name):
    assert set(NAMES) == set(samples), "give the new layout a sample"
    found = layout_of(samples[name])
    assert found is not None and found.name == name


@pytest.mark.parametrize("name", ["image folder", "pixel archive"])
def test_images_come_as_the_model_sees_them(samples, random_images, name):
    images = load(str(samples[name]), None, OTHER)
    assert (images.split, images.labels, images.preprocessing) == ("calibration", None, OTHER)
    np.testing.assert_array_equal(np.concatenate(list(images.pixel_batches(2))), random_images(5).pixels)


def test_cifar10s_own_folder_is_its_512_images(cifar):
    images = load(str(cifar.root), None, OTHER)
    assert (len(images), images.split, images.preprocessing) == (512, "calibration", OTHER)
    assert images.sha256 == load("cifar10-calib512", cifar).sha256


@pytest.mark.parametrize("name", ["CIFAR-10 indices", "CIFAR-10"])
def test_damage_is_one_message(samples, name):
    with pytest.raises((CalibrationError, DataError), match=str(samples[name])):
        load(str(samples[name]), None)


@pytest.fixture
def extended(tmp_path, monkeypatch):
    """(suffix that the toy claims) -> nothing; the package's folder has one file more."""
    def make(suffix):
        (tmp_path / "more").mkdir()
        name = f"toy_{suffix.strip('.')}"  # modules are imported once
        (tmp_path / "more" / f"{name}.py").write_text(TOY.replace("SUFFIX", repr(suffix)))
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / "more")])
    return make


def test_a_toy_is_one_file(extended, tmp_path):
    path = tmp_path / "values.txt"
    path.write_text("0\n7\n255\n")
    with pytest.raises(CalibrationError, match="unknown calibration set"):
        load(str(path), None)
    extended(".txt")
    images = load(str(path), None, OTHER)
    assert images.pixels.shape == (3, 3, 32, 32) and images.pixels[:, 0, 0, 0].tolist() == [0, 7, 255]
    found = layout_of(path)
    assert found is not None and len(found.calibration(path, Wanted(limit=2))) == 2
    with pytest.raises(CalibrationError, match=r"unknown calibration set 'x\.zip'; .*a \.txt of grey values"):
        load("x.zip", None)


def test_two_that_claim_one_path_are_an_error_that_names_both(extended, samples):
    extended(".npz")
    with pytest.raises(CalibrationError, match=r"is an \.npz of pixels and a \.txt of grey values"):
        load(str(samples["pixel archive"]), None)
