"""Corruptions: the published strengths, seeded by image, the same whatever is evaluated beside it."""

import io

import numpy as np
import pytest
from PIL import Image

from edge_se.core.errors import DataError
from edge_se.data import corruptions, splits
from edge_se.data.corrupted_images import corrupted
from edge_se.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt, disk, published_for
from edge_se.data.dataset import open_dataset
from edge_se.data.preprocessing import Preprocessing

CIFAR10_PIXELS = Preprocessing(size=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)
NOISES = ("gaussian_noise", "shot_noise", "impulse_noise")


def grey(value, count=64):
    return np.full((count, 3, 32, 32), value, np.uint8)


def distance(one, other):
    return float(np.sqrt(((one.astype(float) - other) ** 2).mean()))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_looks_the_same_whatever_is_beside_it(name, random_images, monkeypatch) -> None:
    pixels = random_images(20).pixels
    before = pixels.copy()
    whole = corrupt(pixels, name, 3)
    assert whole.dtype == np.uint8 and whole.shape == pixels.shape and (whole != pixels).any()
    assert (pixels == before).all()
    np.testing.assert_array_equal(corrupt(pixels[:7], name, 3), whole[:7])
    np.testing.assert_array_equal(corrupt(pixels[7:], name, 3, positions=np.arange(7, 20)), whole[7:])
    monkeypatch.setattr(corruptions, "CHUNK", 3)
    np.testing.assert_array_equal(corrupt(pixels, name, 3), whole)


@pytest.mark.parametrize("name", NOISES)
def test_noise_is_that_of_its_seed_and_of_its_image(name) -> None:
    pixels = grey(120, 8)
    first = corrupt(pixels, name, 3)
    np.testing.assert_array_equal(corrupt(pixels, name, 3, seed=0), first)
    assert (corrupt(pixels, name, 3, seed=1) != first).mean() > 0.02
    assert (first[0] != first[1]).mean() > 0.02, "equal images get noise of their own"


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severities_are_ever_farther_from_the_image(name, random_images) -> None:
    pixels = random_images(16).pixels
    distances = [distance(corrupt(pixels, name, severity), pixels) for severity in SEVERITIES]
    assert distances == sorted(distances) and distances[0] > 1


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_is_as_strong_as_published(severity) -> None:
    count = 64 * 3 * 32 * 32
    (deviation,), (photons,), (share,) = (CORRUPTIONS[name].strengths[severity - 1] for name in NOISES)
    noise = corrupt(grey(128), "gaussian_noise", severity) - 128.0
    assert noise.std() == pytest.approx(255 * deviation, rel=0.02)
    assert noise.mean() == pytest.approx(-0.5, abs=5 * 255 * deviation / count**0.5)  # cut to whole steps
    shot = corrupt(grey(51), "shot_noise", severity)
    assert shot.std() == pytest.approx(255 * (0.2 / photons) ** 0.5, rel=0.05)  # the cut adds up to 4 % here
    impulses = corrupt(grey(100), "impulse_noise", severity)
    for value in (0, 255):
        wide = 5 * (share / 2 / count) ** 0.5
        assert (impulses == value).mean() == pytest.approx(share / 2, abs=wide)
    assert set(np.unique(impulses)) == {0, 100, 255}


def test_the_draws_are_the_same_at_each_severity() -> None:
    mild, strong = (corrupt(grey(100), "impulse_noise", severity) for severity in (1, 5))
    assert (strong[mild != 100] == mild[mild != 100]).all()
    one, other = (corrupt(grey(128), "gaussian_noise", severity).astype(float).ravel() for severity in (1, 5))
    assert np.corrcoef(one, other)[0, 1] > 0.99


def test_black_has_no_shot_noise_and_nothing_wraps_around() -> None:
    assert not corrupt(grey(0, 2), "shot_noise", 5).any()
    for value in (0, 255):
        found = corrupt(grey(value, 4), "gaussian_noise", 5).astype(int)
        assert abs(found - value).max() < 150


def test_the_blur_is_a_disk_that_reflects_at_the_border() -> None:
    for radius, smoothing in CORRUPTIONS["defocus_blur"].strengths:
        kernel = disk(radius, smoothing)
        assert kernel.shape == (7, 7) and kernel.sum() == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(kernel, kernel[::-1].T, atol=1e-7)
    np.testing.assert_allclose(disk(1.5, 0.1), np.pad(np.full((3, 3), 1 / 9), 2), atol=1e-7)
    point = grey(0, 1)
    point[:, :, 0, 10] = 90
    blurred = corrupt(point, "defocus_blur", 5)[0, 0]
    assert abs(blurred[0, 9:12].astype(int) - 10).max() <= 1  # row -1 is row 1, which is black
    assert abs(blurred[1, 9:12].astype(int) - 10).max() <= 1 and not blurred[2:].any()
    even = corrupt(grey(77, 1), "defocus_blur", 5)
    assert (77 - even.astype(int)).max() <= 1


def test_jpeg_is_pillows_at_the_published_quality(random_images) -> None:
    pixels = random_images(3).pixels
    for severity, quality in zip(SEVERITIES, (80, 65, 58, 50, 40)):
        content = io.BytesIO()
        Image.fromarray(pixels[2].transpose(1, 2, 0)).save(content, "JPEG", quality=quality)
        np.testing.assert_array_equal(corrupt(pixels, "jpeg_compression", severity)[2],
                                      np.asarray(Image.open(content)).transpose(2, 0, 1))


def test_a_set_keeps_its_labels_and_tells_what_was_done(random_images) -> None:
    images = random_images(4, "validation")
    found = corrupted(images, "shot_noise", 2)
    assert found.name == "random-validation+shot_noise-2" and found.split == "validation"
    assert (found.labels == images.labels).all() and found.sha256 != images.sha256
    assert found.preprocessing == images.preprocessing and len(found) == 4


def test_images_of_another_size_and_none_at_all(random_images) -> None:
    wide = random_images(2, size=48).pixels[:, :, :40]
    for name in CORRUPTIONS:
        assert corrupt(wide, name, 1).shape == (2, 3, 40, 48)
        assert corrupt(wide[:0], name, 1).shape == (0, 3, 40, 48)


@pytest.mark.parametrize(("name", "severity", "says"), [
    ("gausian_noise", 1, "did you mean 'gaussian_noise'"), ("shot_noise", 0, "severity 0"),
    ("shot_noise", 6, "between 1 and 5")])
def test_what_there_is_not_is_refused(name, severity, says) -> None:
    with pytest.raises(DataError, match=says):
        corrupt(grey(0, 1), name, severity)


@pytest.mark.parametrize(("name", "apart"), [
    ("gaussian_noise", (10.063, 24.557)), ("shot_noise", (7.724, 23.637)), ("impulse_noise", (14.152, 37.781)),
    ("defocus_blur", (2.095, 14.518)), ("jpeg_compression", (7.415, 11.107))])
def test_photographs_are_changed_as_much_as_by_the_published_code(name, apart, cifar) -> None:
    """RMS distance at severities 1 and 5 of 1,000 images; by make_cifar_c.py with OpenCV 5.0 and scikit-image 0.26."""
    pixels = splits.load("validation", cifar).pixels[:1000]
    for severity, published in zip((1, 5), apart):
        assert distance(corrupt(pixels, name, severity), pixels) == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize(("size", "published", "noise", "quality", "radius"), [
    ((8, 8), "CIFAR-10-C", 0.04, 80, 0.3), ((45, 60), "CIFAR-10-C", 0.04, 80, 0.3),
    ((46, 46), "Tiny-ImageNet-C", 0.04, 65, 0.5), ((119, 500), "Tiny-ImageNet-C", 0.04, 65, 0.5),
    ((120, 120), "ImageNet-C", 0.08, 25, 3), ((224, 224), "ImageNet-C", 0.08, 25, 3)])
def test_strengths_are_those_published_for_the_nearest_size(size, published, noise, quality, radius) -> None:
    assert published_for(size) == published
    assert CORRUPTIONS["gaussian_noise"].strength(1, size) == (noise,)
    assert CORRUPTIONS["jpeg_compression"].strength(1, size) == (quality,)
    assert CORRUPTIONS["defocus_blur"].strength(1, size)[0] == radius
    for corruption in CORRUPTIONS.values():  # each worse than the one before
        assert len({corruption.strength(level, size) for level in SEVERITIES}) == len(SEVERITIES)


@pytest.mark.parametrize(("radius", "smoothing", "side"), [(1.5, 0.1, 7), (3, 0.1, 17), (8, 0.5, 17), (10, 0.5, 21)])
def test_a_disk_is_round_even_and_weighs_one(radius, smoothing, side) -> None:
    found = disk(radius, smoothing)
    assert found.shape == (side, side) and found.dtype == np.float32
    assert found.sum() == pytest.approx(1, abs=2e-2)  # the mirrored border of the largest takes a little of each side
    for other in (found.T, found[::-1], found[:, ::-1]):
        np.testing.assert_allclose(found, other, atol=1e-8)
    assert found[side // 2, side // 2] == pytest.approx(1 / (np.pi * radius**2), rel=0.35)


@pytest.mark.parametrize("severity", [1, 5])
def test_a_large_blur_is_the_sum_over_its_disk(random_images, severity) -> None:
    pixels = random_images(1, size=120).pixels
    kernel = disk(*CORRUPTIONS["defocus_blur"].large[severity - 1])
    border = len(kernel) // 2
    light = np.pad(pixels / 255, ((0, 0), (0, 0), (border, border), (border, border)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(light, kernel.shape, axis=(2, 3))
    expected = np.einsum("nchwij,ij->nchw", windows, kernel.astype(np.float64)) * 255
    found = corrupt(pixels, "defocus_blur", severity)
    assert np.abs(found - np.floor(np.clip(expected, 0, 255))).max() <= 1 and np.abs(found - expected).max() <= 1.01


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_images_that_are_decoded_when_needed_look_like_held_ones(name, random_images, tmp_path) -> None:
    held = random_images(12)
    for index, pixels in enumerate(held.pixels):
        folder = tmp_path / "test" / f"class {held.labels[index]}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.transpose(1, 2, 0)).save(folder / f"{index}.png")
    (tmp_path / "train").mkdir()
    images = open_dataset(tmp_path).split("test", CIFAR10_PIXELS)
    order = [int(images.records.name(index).rpartition("/")[2][:-4]) for index in range(12)]
    reference, found = corrupted(held.take(order), name, 2, seed=4), corrupted(images, name, 2, seed=4)
    assert found.name == f"{images.name}+{name}-2" and len(found) == 12 and found.split == "test"
    np.testing.assert_array_equal(np.concatenate(list(found.pixel_batches(5))), reference.pixels)
    np.testing.assert_array_equal(found.take([7, 0]).image(0), reference.pixels[7])
    assert found.sha256 == corrupted(images, name, 2, seed=4).sha256 != corrupted(images, name, 2, seed=5).sha256
    assert found.take([7, 0]).sha256 != found.take([0, 7]).sha256
    with pytest.raises(DataError, match="severity 6"):
        corrupted(images, name, 6)
