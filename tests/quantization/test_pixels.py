"""No usual normalisation puts pixels on rounding ties, and ranges without ties stay as they are."""

import numpy as np
import pytest

from edge_se.quantization.pixels import MOST_TIES, share_of_ties, without_ties

NORMALISATIONS = {
    "half": ((0.5,) * 3, (0.5,) * 3), "none": ((0.0,) * 3, (1.0,) * 3), "255": ((0.0,) * 3, (1 / 255,) * 3),
    "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "TF": ((0.5,) * 3, (127.5 / 255,) * 3),
    "CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "CLIP": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "MNIST": ((0.1307,) * 3, (0.3081,) * 3), "half, centred": ((127.5 / 255,) * 3, (1.0,) * 3)}


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", NORMALISATIONS)
def test_pixels_are_no_ties(name, symmetric):
    mean, std = NORMALISATIONS[name]
    low = min(-m / s for m, s in zip(mean, std))
    high = max((1 - m) / s for m, s in zip(mean, std))
    bounds = without_ties((low, high), symmetric, mean, std)
    scale = max(-bounds[0], bounds[1]) / 127 if symmetric else (bounds[1] - bounds[0]) / 255
    assert all(share_of_ties(scale, *channel) <= MOST_TIES for channel in zip(mean, std))
    assert bounds[0] <= low and bounds[1] >= high and bounds[1] - bounds[0] < 1.05 * (high - low)


def test_all_levels_survive_where_half_were_lost():
    pixels = np.arange(256) / 255 * 2 - 1
    assert share_of_ties(2 / 255, 0.5, 0.5) == 1.0
    assert len(np.unique(np.round((pixels / (2 / 255)).astype(np.float32)))) < 140
    low, high = without_ties((-1.0, 1.0), False, (0.5,), (0.5,))
    assert len(np.unique(np.round(pixels / ((high - low) / 255)))) > 250


def test_ranges_without_ties_are_not_touched():
    mean, std = NORMALISATIONS["CIFAR-10"]
    assert without_ties((-1.99, 2.12), False, mean, std) == (-1.99, 2.12)
    assert without_ties((0.0, 0.0), False, mean, std) == (0.0, 0.0)
