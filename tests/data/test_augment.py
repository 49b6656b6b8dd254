"""Augmentation against plain references: reflect padding and cropping, flips, holes, resizing, and its seeds."""

import numpy as np
import pytest
import torch

from edge_se.core.recipes import Augmentation
from edge_se.data.augment import Augmenter, resize
from edge_se.data.splits import normalise

COUNT, SIZE = 24, 16
PLAIN = Augmentation(translate=0, flip="none", cutout=0)


@pytest.fixture(scope="module")
def pixels(random_images):
    return random_images(COUNT, "train", size=SIZE).pixels


@pytest.fixture(scope="module")
def batch(pixels):
    def make(recipe, *, epoch=0, resolution=SIZE, seed=0, draw=0, indices=None):
        indices = torch.arange(COUNT) if indices is None else indices
        augmenter = Augmenter(torch.from_numpy(pixels), recipe, seed)
        return augmenter.batch(indices, epoch, resolution, torch.Generator().manual_seed(draw))
    return make


def test_without_augmentation_it_is_normalisation(batch, pixels):
    indices = torch.tensor([5, 0, 5, 23])
    images = batch(PLAIN, indices=indices)
    assert images.dtype == torch.float32 and images.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(images.numpy(), normalise(pixels[indices]), atol=1e-5)


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
    first = torch.from_numpy(normalise(pixels))
    straight = [torch.allclose(image, plain, atol=1e-5) for image, plain in zip(epochs[0], first)]
    assert 0.2 < np.mean(straight) < 0.8  # the first side is drawn per image
    assert not torch.equal(epochs[0], batch(recipe, epoch=0, seed=1))  # by the recipe's seed


def test_random_flips_about_half(batch, pixels):
    plain, recipe = torch.from_numpy(normalise(pixels)), Augmentation(translate=0, flip="random")
    flipped = []
    for draw in range(10):
        for image, original in zip(batch(recipe, draw=draw), plain):
            assert torch.allclose(image, original, atol=1e-5) or torch.allclose(image, original.flip(2), atol=1e-5)
            flipped.append(not torch.allclose(image, original, atol=1e-5))
    assert 0.4 < np.mean(flipped) < 0.6


@pytest.mark.parametrize("reach", [1, 4, 12])
def test_translation_is_a_crop_of_the_reflected_image(batch, pixels, reach):
    images = batch(Augmentation(translate=reach, flip="none"), draw=3).numpy()
    padded = np.pad(pixels, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="reflect")
    offsets = set()
    for image, source in zip(images, padded):
        fits = [(down, right) for down in range(2 * reach + 1) for right in range(2 * reach + 1)
                if np.allclose(image, normalise(source[None, :, down:down + SIZE, right:right + SIZE])[0], atol=1e-5)]
        assert len(fits) == 1
        offsets.update(fits)
    assert len(offsets) > 4  # each image has its own


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


@pytest.mark.parametrize("resolution", [8, 16, 24])
def test_resize(batch, resolution):
    images = batch(PLAIN, resolution=resolution)
    assert images.shape == (COUNT, 3, resolution, resolution)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_shrinking_averages_instead_of_skipping():
    every_fourth = torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(8).expand(1, 1, 32, 32)
    inner = resize(every_fourth, 8)[..., 1:-1]
    torch.testing.assert_close(inner, torch.full_like(inner, 0.25), atol=0.05, rtol=0)
