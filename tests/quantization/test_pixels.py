"""No usual normalisation puts pixels on rounding ties, and ranges without ties stay as they are."""

import numpy as np
import pytest

from edge_se.device.agent.preprocess import Preprocessing
from edge_se.quantization.pixels import (
    MOST_TIES,
    bounds_of_pixels,
    exact_bounds,
    levels_of,
    pixel_levels,
    share_of_ties,
    without_ties,
)

NORMALISATIONS = {
    "half": ((0.5,) * 3, (0.5,) * 3), "none": ((0.0,) * 3, (1.0,) * 3), "255": ((0.0,) * 3, (1 / 255,) * 3),
    "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "TF": ((0.5,) * 3, (127.5 / 255,) * 3),
    "CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "CLIP": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "MNIST": ((0.1307,) * 3, (0.3081,) * 3), "half, centred": ((127.5 / 255,) * 3, (1.0,) * 3)}


def levels(mean, std):
    return levels_of(Preprocessing(size=(8, 8), mean=tuple(mean), std=tuple(std)))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", NORMALISATIONS)
def test_pixels_are_no_ties(name, symmetric):
    mean, std = NORMALISATIONS[name]
    low = min(-m / s for m, s in zip(mean, std))
    high = max((1 - m) / s for m, s in zip(mean, std))
    bounds = without_ties((low, high), symmetric, levels(mean, std))
    scale = max(-bounds[0], bounds[1]) / 127 if symmetric else (bounds[1] - bounds[0]) / 255
    assert all(share_of_ties(scale, channel) <= MOST_TIES for channel in levels(mean, std))
    assert bounds[0] <= low and bounds[1] >= high and bounds[1] - bounds[0] < 1.05 * (high - low)


def test_all_levels_survive_where_half_were_lost():
    pixels = np.arange(256) / 255 * 2 - 1
    assert share_of_ties(2 / 255, pixels) == 1.0
    assert len(np.unique(np.round((pixels / (2 / 255)).astype(np.float32)))) < 140
    low, high = without_ties((-1.0, 1.0), False, pixels[None])
    assert len(np.unique(np.round(pixels / ((high - low) / 255)))) > 250


def test_ranges_without_ties_are_not_touched():
    own = levels(*NORMALISATIONS["CIFAR-10"])
    assert without_ties((-1.99, 2.12), False, own) == (-1.99, 2.12)
    assert without_ties((0.0, 0.0), False, own) == (0.0, 0.0)


def test_pixels_that_are_integers_are_exact_whatever_calibration_saw():
    bytes_ = levels_of(Preprocessing(size=(8, 8), mean=(0.0,) * 3, std=(1.0,) * 3, range="0-255"))
    centred = bytes_ - 128
    assert exact_bounds(bytes_, symmetric=False) == (0.0, 255.0)
    assert exact_bounds(bytes_, symmetric=True) is None, "255 has no place in int8"
    assert exact_bounds(centred, symmetric=False) == (-128.0, 127.0)
    assert exact_bounds(centred, symmetric=True) == (-127.0, 127.0)
    assert exact_bounds(levels(*NORMALISATIONS["ImageNet"]), symmetric=False) is None
    assert exact_bounds(bytes_ - 103.939, symmetric=False) is None


def test_pixels_are_followed_through_the_graph(graph_of):
    proto = graph_of([("Cast", ["x"], ["c"], {"to": 1}), ("Transpose", ["c"], ["t"], {"perm": [0, 3, 1, 2]}),
                      ("Sub", ["t", "mean"], ["s"]), ("Mul", ["scale", "s"], ["m"]), ("Div", ["one", "t"], ["d"]),
                      ("Conv", ["m", "w"], ["y"])],
                     {"mean": np.array([1, 2, 3], np.float32).reshape(3, 1, 1), "scale": np.float32(0.5),
                      "one": np.float32(1), "w": np.ones((4, 3, 3, 3), np.float32)}, x=("batch", 8, 8, 3))
    how = Preprocessing(size=(8, 8), mean=(0.0,) * 3, std=(1.0,) * 3, range="0-255", axes="NHWC")
    found = pixel_levels(proto, how)
    assert list(found) == ["x", "c", "t", "s", "m"]  # a division by pixels has no finite levels, and Conv mixes them
    np.testing.assert_array_equal(found["t"], np.tile(np.arange(256), (3, 1)))
    np.testing.assert_array_equal(found["m"], [(np.arange(256) - mean) / 2 for mean in (1, 2, 3)])
    bounds = dict.fromkeys(found, (3.0, 250.0)) | {"y": (-9.0, 9.0)}
    better = bounds_of_pixels(proto, how, bounds | {"m": (0.5, 124.0)}, dict.fromkeys(bounds, False))
    assert better["t"] == (0.0, 255.0) and "y" not in better and better["m"] == (0.5, 124.0)
