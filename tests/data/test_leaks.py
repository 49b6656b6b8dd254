"""Images of two sets that are the same: how many there are, and where one of them is."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edge_se.core.errors import CalibrationError
from edge_se.data.dataset import open_dataset
from edge_se.data.leaks import contents_of, copies, require_apart, require_not_calibrated_on

COUNT = 12


@pytest.fixture
def judged(tmp_path, random_images):
    """(layout) -> COUNT images of the test split, of which `random_images` has the pixels."""
    def make(layout):
        images = random_images(COUNT)
        how = replace(images.preprocessing, labels=())
        if layout == "npz":
            np.savez(tmp_path / "test.npz", pixels=images.pixels, labels=images.labels)
            return open_dataset(tmp_path / "test.npz").split("test", how)
        if layout == "folder":
            (tmp_path / "test" / "cat").mkdir(parents=True)
            for number, image in enumerate(images.pixels):
                Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "test" / "cat" / f"{number:02}.png")
            return open_dataset(tmp_path / "test").split("test", how)
        return images
    return make


@pytest.mark.parametrize(("layout", "where"), [
    ("npz", r"test\.npz, image 4"), ("folder", r"test/cat/04\.png"), ("held", r"random-calibration, image 4")])
def test_an_image_of_both_is_named(judged, random_images, layout, where):
    images, known = judged(layout), random_images(COUNT).take([9, 4])
    said = rf"2 of the 2 images that it was calibrated on are among those that are judged \(.*\), as is .*{where}; "
    with pytest.raises(CalibrationError, match=said):
        require_apart(known, images)
    with pytest.raises(CalibrationError, match=said):
        require_not_calibrated_on(contents_of(known), images, "build")
    assert copies(known, images) == 2
    other = random_images(COUNT, seed=1)
    require_apart(other, images)
    assert copies(other, images) == 0


def test_each_copy_of_the_judged_ones_counts(random_images):
    images = random_images(COUNT)
    assert copies(images.take([3, 3, 5]), images.take([3, 3, 3, 7])) == 3
    assert copies(images.take([]), images) == copies(images, images.take([])) == 0
