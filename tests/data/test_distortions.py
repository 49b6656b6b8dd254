"""Batched distortions against torchvision's functions, image by image."""

import pytest
import torch

from edge_se.data import distortions
from edge_se.data.draws import Draws
from edge_se.data.torchvision_import import torchvision  # noqa: F401  (before torchvision.transforms.v2)

import torchvision.transforms.v2.functional as tv  # isort: skip

COUNT, SIZE = 6, 32


@pytest.fixture(scope="module")
def images(random_images):
    return torch.from_numpy(random_images(COUNT, "train", size=SIZE).pixels).float()


def each(images, function, *amounts):
    """torchvision on values 0..1, as it takes floats."""
    done = [function(image / 255, *(float(value) for value in values)) for image, *values in zip(images, *amounts)]
    return 255 * torch.stack(done)


def test_rotation(images):
    degrees = torch.tensor([0.0, 15, -15, 40, 90, 180])
    turned = distortions.rotated(images, degrees)
    expected = each(images, lambda image, angle: tv.rotate(image, angle, tv.InterpolationMode.BILINEAR), degrees)
    middle = (slice(None), slice(None), slice(8, 24), slice(8, 24))  # corners: both are black outside, to a pixel
    torch.testing.assert_close(turned[middle], expected[middle], atol=1.0, rtol=0)
    torch.testing.assert_close(turned[0], images[0], atol=1e-2, rtol=0)
    assert turned[3, :, 0, 0].abs().max() == 0


def test_jitter(images):
    factors = [torch.tensor([1.0, 0.5, 1.5, 0.0, 1.2, 0.8]) for _ in range(3)]
    factors[1], factors[2] = factors[1].flip(0), factors[2].roll(2)

    def reference(image, brightness, contrast, saturation):
        image = tv.adjust_contrast(tv.adjust_brightness(image, brightness), contrast)
        return tv.adjust_saturation(image, saturation)
    torch.testing.assert_close(distortions.jittered(images, *factors), each(images, reference, *factors),
                               atol=0.05, rtol=0)


def test_sharpness(images):
    factor = torch.tensor([1.0, 0.0, 2.0, 0.5, 1.5, 1.1])
    torch.testing.assert_close(distortions.sharpened(images, factor), each(images, tv.adjust_sharpness, factor),
                               atol=0.05, rtol=0)


def test_blur(images):
    sigma = torch.tensor([0.1, 0.5, 1.0, 1.5, 2.0, 0.7])
    chosen = torch.tensor([True, True, True, True, True, False])
    blurred = distortions.blurred(images, sigma, chosen)
    expected = each(images, lambda image, width: tv.gaussian_blur(image, [3, 3], [width, width]), sigma)
    torch.testing.assert_close(blurred[chosen], expected[chosen], atol=0.05, rtol=0)
    assert torch.equal(blurred[5], images[5])


def test_hue_turns_colours_and_leaves_greys_and_luma(images):
    grey = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(distortions.hue_turned(grey, torch.linspace(-0.5, 0.5, COUNT)), grey, atol=0.5, rtol=0)
    muted = 127 + 0.1 * (images - 127)  # no value is clipped
    torch.testing.assert_close(distortions.hue_turned(muted, torch.zeros(COUNT)), muted, atol=1e-2, rtol=0)
    turned = distortions.hue_turned(muted, torch.full((COUNT,), 0.3))
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    torch.testing.assert_close((turned * luma).sum(1), (muted * luma).sum(1), atol=0.05, rtol=0)
    assert (turned - muted).abs().mean() > 1
    back = distortions.hue_turned(turned, torch.full((COUNT,), 0.7))
    torch.testing.assert_close(back, muted, atol=0.05, rtol=0)


def holes(probability, count=400):
    draws = Draws(count, torch.Generator().manual_seed(1), None, torch.device("cpu"))
    return ~distortions.unerased(draws, probability, SIZE)[:, 0]


def test_erasing_takes_solid_rectangles_of_the_stated_areas():
    erased = holes(1.0)
    areas, ratios = [], []
    for hole in erased:
        rows, columns = hole.any(1).nonzero(), hole.any(0).nonzero()
        height, width = (int(found.max() - found.min()) + 1 for found in (rows, columns))
        assert hole.sum() == height * width
        areas.append(height * width / SIZE**2)
        ratios.append(height / width)
    assert 0.01 < min(areas) < 0.05 and 0.28 < max(areas) < 0.36
    assert min(ratios) < 0.5 and max(ratios) > 2
    assert erased.any(0).float().mean() > 0.98  # anywhere in the image


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_erasing_happens_as_often_as_asked(probability):
    assert abs(holes(probability).flatten(1).any(1).float().mean() - probability) < 0.06
