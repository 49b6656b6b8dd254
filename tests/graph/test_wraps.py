"""A Pad in mode `wrap` becomes what every runtime knows, with the same numbers."""

import numpy as np
import pytest
import torch
from torch import nn

from edge_se.graph.export import to_onnx
from edge_se.graph.foreign import normalised
from edge_se.graph.metadata import ModelMetadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.wraps import spelled_out_wraps

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.standard_normal((2, 3, 8, 9), np.float32)


def operators(model):
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("around", [(1, 1, 1, 1), (2, 0, 0, 3), (0, 8, 0, 9), (0, 0, 0, 1), (0, 0, 0, 0)])
@pytest.mark.parametrize("listed", ["all axes", "some axes", "from the end"])
def test_the_numbers_are_those_of_numpy(graph_of, run_onnx, around, listed):
    top, left, bottom, right = around
    pads, axes = {"all axes": ([0, 0, top, left, 0, 0, bottom, right], None), "some axes": (around, [2, 3]),
                  "from the end": ([left, top, right, bottom], [-1, -2])}[listed]
    inputs = ["x", "p"] + (["", "a"] if axes else [])
    model = graph_of([("Pad", inputs, ["y"], {"mode": "wrap"})],
                     {"p": np.array(pads), **({"a": np.array(axes)} if axes else {})}, x=IMAGES.shape, opset=19)
    assert spelled_out_wraps(model) == 1 and "Pad" not in operators(model)
    expected = np.pad(IMAGES, ((0, 0), (0, 0), (top, bottom), (left, right)), mode="wrap")
    np.testing.assert_array_equal(run_onnx(model, IMAGES)[0], expected)


def test_other_modes_and_computed_pads_stay(graph_of):
    wide = {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    for mode in ("reflect", "edge", "constant"):
        assert spelled_out_wraps(graph_of([("Pad", ["x", "p"], ["y"], {"mode": mode})], wide, opset=19)) == 0
    shrinking = graph_of([("Pad", ["x", "p"], ["y"], {"mode": "wrap"})], {"p": -wide["p"]}, opset=19)
    assert spelled_out_wraps(shrinking) == 0 and operators(shrinking) == ["Pad"]


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_circular_convolutions_of_torch(tmp_path, run_onnx, dynamo):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular"), nn.ReLU(),
                        nn.Conv2d(8, 8, 5, padding=(0, 2), padding_mode="circular"), nn.AdaptiveAvgPool2d(1),
                        nn.Flatten(), nn.Linear(8, 5)).eval()
    path, images = tmp_path / "m.onnx", torch.from_numpy(IMAGES)
    torch.onnx.export(net, (images[:1],), str(path), dynamo=dynamo, opset_version=18 if dynamo else 17, verbose=False,
                      **({"external_data": False} if dynamo else {}))
    with torch.no_grad():
        expected = net(images).numpy()
    for made in (normalised(OnnxModel.read(path), path), to_onnx(net, ModelMetadata(model="m"), (8, 9))):
        assert "Pad" not in operators(made)
        np.testing.assert_allclose(np.concatenate([run_onnx(made, image[None])[0] for image in IMAGES]), expected,
                                   rtol=1e-4, atol=1e-5)
