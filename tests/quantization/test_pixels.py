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
from edge_se.quantization.placement import ends

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


PATCHES = [("Reshape", ["x", "six"], ["1"]), ("Transpose", ["1"], ["2"], {"perm": [0, 2, 4, 3, 5, 1]}),
           ("Reshape", ["2", "three"], ["3"]), ("MatMul", ["3", "m"], ["y"])]
FOCUS = [("Slice", ["x", "first", "end", "axes", "steps"], ["1"]),
         ("Slice", ["x", "second", "end", "axes", "steps"], ["2"]),
         ("Concat", ["1", "2"], ["3"], {"axis": 1}), ("Conv", ["3", "w"], ["y"])]
STEMS = {
    "patches": (PATCHES, "123"), "slices": (FOCUS, "123"),
    "depth": ([("SpaceToDepth", ["x"], ["1"], {"blocksize": 2}), ("Conv", ["1", "v"], ["y"])], "1"),
    "scaled patches": ([*PATCHES[:3], ("Mul", ["3", "one"], ["4"]), ("MatMul", ["4", "m"], ["y"])], "1234"),
    "halves": ([("Split", ["x", "parts"], ["1", "2"], {"axis": 2}), ("Conv", ["1", "u"], ["y"])], "12")}
CONSTANTS = {"six": np.array([0, 3, 4, 2, 4, 2]), "three": np.array([0, 16, 12]), "first": np.array([0, 0]),
             "second": np.array([1, 1]), "end": np.array([99, 99]), "axes": np.array([2, 3]), "steps": np.array([2, 2]),
             "parts": np.array([4, 4]), "one": np.float32(1), "m": np.ones((12, 5), np.float32)} | {
    name: np.ones((5, inputs, 1, 1), np.float32) for name, inputs in (("w", 6), ("v", 12), ("u", 3))}


@pytest.mark.parametrize("name", STEMS)
def test_pixels_are_followed_into_patches(graph_of, name):
    nodes, forms = STEMS[name]
    read = {one for node in nodes for one in node[1]}
    proto = graph_of(nodes, {one: value for one, value in CONSTANTS.items() if one in read})
    how = Preprocessing(size=(8, 8), mean=(0.5,) * 3, std=(0.5,) * 3)
    found = pixel_levels(proto, how)
    assert set(found) == {"x", *forms}
    bounds = bounds_of_pixels(proto, how, dict.fromkeys(found, (-1.0, 1.0)), dict.fromkeys(found, False))
    assert all(share_of_ties((high - low) / 255, channel) <= MOST_TIES for low, high in bounds.values()
               for channel in levels_of(how))
    layer = proto.graph.node[-1].output[0]
    assert ends(proto) == [layer]


@pytest.mark.parametrize(("operator", "constant"), [("Concat", np.ones((1, 3, 8, 8), np.float32)),
                                                    ("Mul", np.arange(3, dtype=np.float32).reshape(1, 1, 3))])
def test_pixels_beside_other_numbers_are_not_followed(graph_of, operator, constant):
    """Coordinates beside an image, and factors of which nobody knows the channel."""
    nodes = [("Concat", ["x", "c"], ["1"], {"axis": 1})] if operator == "Concat" else [
        ("Reshape", ["x", "flat"], ["2"]), ("Mul", ["2", "c"], ["1"])]
    proto = graph_of([*nodes, ("Relu", ["1"], ["y"])], {"c": constant} | (
        {"flat": np.array([0, 64, 3])} if operator == "Mul" else {}), x=(1, 3, 8, 8))
    assert "1" not in pixel_levels(proto, Preprocessing(size=(8, 8), mean=(0.5,) * 3, std=(0.5,) * 3))
