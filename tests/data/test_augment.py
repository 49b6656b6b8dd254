"""Augmentation against plain references: padding and cropping, flips, holes, mixup, resizing, seeds, shared batches."""

import numpy as np
import pytest
import torch

from edge_se.core.recipes import Augmentation
from edge_se.data.augment import Augmenter, resize
from edge_se.data.preprocessing import CIFAR10, tensor
from edge_se.data.training_pixels import Held

COUNT, SIZE = 24, 16
PLAIN = Augmentation(translate=0, flip="none", cutout=0)


@pytest.fixture(scope="module")
def pixels(random_images):
    return random_images(COUNT, "train", size=SIZE).pixels


@pytest.fixture(scope="module")
def batch(pixels):
    def make(recipe, *, epoch=0, resolution=SIZE, seed=0, draw=0, indices=None):
        indices = torch.arange(COUNT) if indices is None else indices
        augmenter = Augmenter(Held(torch.from_numpy(pixels)), recipe, seed)
        return augmenter.batch(indices, epoch, resolution, torch.Generator().manual_seed(draw))
    return make


def test_without_augmentation_it_is_normalisation(batch, pixels):
    indices = torch.tensor([5, 0, 5, 23])
    images = batch(PLAIN, indices=indices)
    assert images.dtype == torch.float32 and images.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(images.numpy(), tensor(pixels[indices], CIFAR10), atol=1e-5)


@pytest.mark.parametrize("recipe", [Augmentation(translate=3, flip=flip, cutout=4)
                                    for flip in ("none", "random", "alternating")])
def test_a_batch_depends_on_its_generator_alone(batch, recipe):
    torch.manual_seed(1)
    first = batch(recipe, draw=7)
    torch.manual_seed(2)
    assert torch.equal(first, batch(recipe, draw=7))
    assert not torch.equal(first, batch(recipe, draw=8))


def test_alternating_flips_every_image_every_epoch(batch, pixels):
    recipe = Augmentation(translate=0, flip="alternating")
    epochs = [batch(recipe, epoch=epoch) for epoch in range(3)]
    assert torch.equal(epochs[0], epochs[2])
    assert torch.equal(epochs[0], epochs[1].flip(3))
    first = torch.from_numpy(tensor(pixels, CIFAR10))
    straight = [torch.allclose(image, plain, atol=1e-5) for image, plain in zip(epochs[0], first)]
    assert 0.2 < np.mean(straight) < 0.8  # the first side is drawn per image
    assert not torch.equal(epochs[0], batch(recipe, epoch=0, seed=1))  # by the recipe's seed


def test_random_flips_about_half(batch, pixels):
    plain, recipe = torch.from_numpy(tensor(pixels, CIFAR10)), Augmentation(translate=0, flip="random")
    flipped = []
    for draw in range(10):
        for image, original in zip(batch(recipe, draw=draw), plain):
            assert torch.allclose(image, original, atol=1e-5) or torch.allclose(image, original.flip(2), atol=1e-5)
            flipped.append(not torch.allclose(image, original, atol=1e-5))
    assert 0.4 < np.mean(flipped) < 0.6


@pytest.mark.parametrize("reach", [1, 4, 12])
@pytest.mark.parametrize(("padding", "mode"), [("reflect", "reflect"), ("zero", "constant")])
def test_translation_is_a_crop_of_the_padded_image(batch, pixels, reach, padding, mode):
    images = batch(Augmentation(translate=reach, flip="none", padding=padding), draw=3).numpy()
    padded = np.pad(pixels, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode=mode)
    offsets = set()
    for image, source in zip(images, padded):
        fits = [(down, right) for down in range(2 * reach + 1) for right in range(2 * reach + 1)
                if np.allclose(image, tensor(source[None, :, down:down + SIZE, right:right + SIZE], CIFAR10),
                               atol=1e-5)]
        assert len(fits) == 1
        offsets.update(fits)
    assert len(offsets) > 4  # each image has its own


@pytest.mark.parametrize("size", [8, 9, 16, 32])
def test_translation_beyond_a_small_image_is_reflected_at_both_edges(size):
    """As numpy pads: a recipe's 16 pixels may be more than the image has."""
    pixels = torch.arange(size, dtype=torch.uint8).expand(3, 3, size, size)
    augmenter = Augmenter(Held(pixels), Augmentation(translate=16, flip="none"), 0)
    reach = torch.arange(-16, size + 16)
    np.testing.assert_array_equal(augmenter._inside(reach), np.pad(np.arange(size), 16, mode="reflect"))
    images = augmenter.batch(torch.arange(3), 0, size, torch.Generator().manual_seed(0))
    assert images.shape == (3, 3, size, size)


@pytest.mark.parametrize("size", [1, 4, 5])
def test_cutout_makes_one_square_hole_that_may_hang_over(batch, size):
    plain = batch(PLAIN)
    complete, cut_before, cut_after = 0, 0, 0
    for draw in range(5):
        holes = (batch(Augmentation(translate=0, flip="none", cutout=size), draw=draw) == 0) & (plain != 0)
        for hole in holes:
            rows, columns = hole.any(0).any(1).nonzero(), hole.any(0).any(0).nonzero()
            height, width = (int(found.max() - found.min()) + 1 for found in (rows, columns))
            assert hole.sum() == 3 * height * width  # a solid rectangle in all channels
            for extent, found in ((height, rows), (width, columns)):
                assert extent == size or (extent < size and (found.min() == 0 or found.max() == SIZE - 1))
            complete += height == width == size
            cut_before += width < size and int(columns.min()) == 0
            cut_after += width < size and int(columns.max()) == SIZE - 1
    assert complete > 0.3 * 5 * COUNT
    assert size == 1 or (cut_before and cut_after)  # the centre is drawn from the whole image


EVERYTHING = Augmentation(translate=2, flip="random", cutout=4, padding="zero", rotation=15, policy="randaugment",
                          color_jitter=0.2, hue=0.05, sharpness=0.2, blur=0.3, erasing=0.3, mixup=0.4)


@pytest.mark.parametrize("change", [
    {"rotation": 20.0}, {"policy": "randaugment"}, {"policy": "autoaugment"}, {"color_jitter": 0.3}, {"hue": 0.2},
    {"sharpness": 1.0}, {"blur": 1.0}, {"erasing": 1.0}], ids=str)
def test_each_key_changes_images_and_nothing_that_an_image_cannot_hold(batch, change):
    plain, changed = batch(PLAIN), batch(PLAIN.model_copy(update=change))
    assert ((changed - plain).abs() > 1e-3).flatten(1).any(1).float().mean() > 0.4
    assert changed.is_contiguous(memory_format=torch.channels_last)
    black, white = (torch.from_numpy(tensor(np.full((1, 3, 1, 1), value, np.uint8), CIFAR10)) for value in (0, 255))
    assert (changed >= black - 1e-4).all() and (changed <= white + 1e-4).all()


def test_jitter_and_its_like_keep_the_mean_on_average(batch):
    recipe = PLAIN.model_copy(update={"color_jitter": 0.2, "sharpness": 0.2, "blur": 0.5})
    means = torch.stack([batch(recipe, draw=draw).mean((0, 2, 3)) for draw in range(20)])
    torch.testing.assert_close(means.mean(0), batch(PLAIN).mean((0, 2, 3)), atol=0.1, rtol=0)


@pytest.mark.parametrize("recipe", [EVERYTHING, EVERYTHING.model_copy(update={"policy": "autoaugment"})])
def test_processes_see_together_what_one_sees(pixels, recipe):
    augmenter, indices = Augmenter(Held(torch.from_numpy(pixels)), recipe, 0), torch.arange(COUNT).roll(5)

    def made(rows):
        return augmenter.mixed(indices, 1, SIZE, torch.Generator().manual_seed(3), rows)
    whole, parts = made(None), [made(rows) for rows in torch.arange(COUNT).chunk(3)]
    torch.testing.assert_close(torch.cat([part.images for part in parts]), whole.images, atol=1e-5, rtol=0)
    for name in ("sources", "partners"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))
    assert {part.share for part in parts} == {whole.share}


def test_mixup_mixes_images_as_it_says(pixels):
    indices = torch.arange(COUNT).roll(3)
    augmenter = Augmenter(Held(torch.from_numpy(pixels)), PLAIN.model_copy(update={"mixup": 1.0}), 0)
    plain, shares = torch.from_numpy(tensor(pixels, CIFAR10)), []
    for draw in range(30):
        batch = augmenter.mixed(indices, 0, SIZE, torch.Generator().manual_seed(draw))
        assert torch.equal(batch.sources, indices) and sorted(batch.partners.tolist()) == sorted(indices.tolist())
        expected = batch.share * plain[batch.sources] + (1 - batch.share) * plain[batch.partners]
        torch.testing.assert_close(batch.images, expected, atol=1e-5, rtol=0)
        shares.append(batch.share)
    assert min(shares) < 0.2 and max(shares) > 0.8  # Beta(1, 1) is uniform


def test_without_mixup_there_are_no_partners(pixels):
    batch = Augmenter(Held(torch.from_numpy(pixels)), PLAIN, 0).mixed(torch.arange(4), 0, SIZE, torch.Generator())
    assert batch.partners is None and batch.share == 1 and torch.equal(batch.sources, torch.arange(4))


def test_enlarging_is_bilinear():
    images = torch.rand(2, 3, 32, 32)
    large = resize(images, 224)
    assert large.shape == (2, 3, 224, 224) and large.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(large[..., 3::7, 3::7], images)  # at the centres of the old pixels
    ramp = torch.arange(32.0).expand(1, 1, 32, 32)
    torch.testing.assert_close(resize(ramp, 224)[0, 0, 0, 3:-3], (torch.arange(3, 221) + 0.5) / 7 - 0.5)


@pytest.mark.parametrize("resolution", [8, 16, 24])
def test_resize(batch, resolution):
    images = batch(PLAIN, resolution=resolution)
    assert images.shape == (COUNT, 3, resolution, resolution)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_shrinking_averages_instead_of_skipping():
    every_fourth = torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(8).expand(1, 1, 32, 32)
    inner = resize(every_fourth, 8)[..., 1:-1]
    torch.testing.assert_close(inner, torch.full_like(inner, 0.25), atol=0.05, rtol=0)
