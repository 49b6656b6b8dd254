"""A folder of images as a calibration set: which files, which crop, which size."""

import numpy as np
import pytest
from PIL import Image

from edge_se.core.errors import CalibrationError, DataError
from edge_se.data import calibration
from edge_se.data.layout import Wanted
from edge_se.data.layouts import image_folder
from edge_se.data.preprocessing import assumed


def load_folder(folder, *, size=32, limit=512):
    return image_folder.calibration(folder, Wanted(preprocessing=assumed((size, size)), limit=limit))


def pixels_of(images):
    return np.concatenate(list(images.pixel_batches(7)))


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def classes(tmp_path):
    random = np.random.default_rng(0)
    for name, count in (("cat", 9), ("dog", 3), ("frog", 20)):
        for number in range(count):
            save(tmp_path / name / f"{number}.png", random.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    return tmp_path


def test_whole_images_at_their_own_size_are_untouched(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    save(tmp_path / "a.png", pixels)
    images = load_folder(tmp_path)
    np.testing.assert_array_equal(pixels_of(images)[0], pixels.transpose(2, 0, 1))
    assert images.split == "calibration" and images.labels is None


def test_classes_share_the_limit(classes):
    images = load_folder(classes, limit=15)
    assert len(images) == 15
    again = load_folder(classes, limit=15)
    np.testing.assert_array_equal(pixels_of(images), pixels_of(again))
    assert images.sha256 == again.sha256
    every = {image.tobytes(): path.parent.name for path in classes.rglob("*.png")
             for image in [np.asarray(Image.open(path)).transpose(2, 0, 1)]}
    drawn = [every[image.tobytes()] for image in pixels_of(images)]
    assert {name: drawn.count(name) for name in set(drawn)} == {"dog": 3, "cat": 6, "frog": 6}


def test_all_are_taken_below_the_limit(classes):
    assert len(load_folder(classes)) == 32


def test_large_images_are_resized_and_cropped_at_the_centre(tmp_path):
    pixels = np.zeros((400, 800, 3), np.uint8)
    pixels[:, 300:500] = 255  # a white band in the middle
    save(tmp_path / "wide.png", pixels)
    image = load_folder(tmp_path, size=224).image(0)
    assert image.shape == (3, 224, 224)
    assert (image[:, :, 100:124] == 255).all() and (image[:, :, :20] == 0).all()


def test_grey_and_palette_images_become_rgb(tmp_path):
    Image.fromarray(np.full((40, 40), 7, np.uint8)).save(tmp_path / "grey.png")
    assert (load_folder(tmp_path).image(0) == 7).all()


def test_an_empty_folder_and_a_broken_image_are_messages(tmp_path):
    with pytest.raises(CalibrationError, match="holds no image"):
        load_folder(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no")
    with pytest.raises(DataError, match=r"broken\.jpg: cannot be read as an image"):
        pixels_of(load_folder(tmp_path))


@pytest.mark.parametrize("name", ["IMG_0001.HEIC", "b.heif", "c.jxl"])
def test_photos_that_cannot_be_decoded_are_refused_by_name_and_not_passed_over(classes, name):
    (classes / "cat" / name).write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(DataError, match=rf"{name}: cannot be read .*; remove it, or save it as PNG or JPEG; --skip"):
        pixels_of(load_folder(classes))
    assert len(load_folder(classes).whole()) == 32


@pytest.mark.parametrize("ending", ["jfif", "gif", "jpe"])
def test_other_endings_of_what_is_decoded_are_images(classes, ending):
    Image.new("RGB", (32, 32), (9, 9, 9)).save(classes / "dog" / f"x.{ending}")
    assert len(load_folder(classes)) == 33


def test_the_fix_of_an_image_of_unsure_colours_is_its_own(tmp_path):
    Image.new("CMYK", (4, 4)).save(tmp_path / "x.jpg", icc_profile=b"a profile")
    with pytest.raises(DataError, match=r"is CMYK with a colour profile; save it as 8-bit RGB or grey; --skip-broken"):
        pixels_of(load_folder(tmp_path))


def test_a_folder_goes_where_a_name_goes_and_other_sizes_need_one(classes):
    assert len(calibration.load(str(classes), None)) == 32
    with pytest.raises(CalibrationError, match="give images of the kind that the model was trained on"):
        calibration.load(None, None, assumed((224, 224)))
