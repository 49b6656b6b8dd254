"""Reductions of which OpenVINO loses the axes: the same numbers in operators that it reads right."""

import numpy as np
import pytest
import torch
from torch import nn

from edge_se.backends import openvino
from edge_se.backends.base import Device
from edge_se.backends.openvino import OpenVino
from edge_se.graph.export import to_onnx
from edge_se.graph.foreign import normalised
from edge_se.graph.metadata import ModelMetadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.reductions import KINDS, losing_axes, spelled_out_reductions
from edge_se.graph.view import GraphView

IMAGES = np.random.default_rng(0).random((2, 3, 8, 9), np.float32) + 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axes", [[1], [2, 3], [-1], [0, 1, 2, 3]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_the_numbers_stay(graph_of, run_onnx, kind, axes, keepdims):
    signed = IMAGES if kind == "ReduceLogSum" else 50 * (IMAGES - 0.6)  # exp(50 x 0.5) is near the end of float32
    model = graph_of([(kind, ["x"], ["y"], {"axes": axes, "keepdims": keepdims})], x=IMAGES.shape)
    expected = run_onnx(model, signed)[0]
    assert spelled_out_reductions(model) == 1
    assert not {node.op_type for node in model.graph.node} & set(KINDS)
    made = run_onnx(model, signed)[0]
    assert made.shape == expected.shape
    np.testing.assert_allclose(made, expected, rtol=1e-5)


def test_exponentials_do_not_overflow(graph_of, run_onnx):
    model = graph_of([("ReduceLogSumExp", ["x"], ["y"], {"axes": [1]})], x=IMAGES.shape)
    spelled_out_reductions(model)
    far = np.full(IMAGES.shape, 500, np.float32)
    np.testing.assert_allclose(run_onnx(model, far)[0], np.full((2, 1, 8, 9), 500 + np.log(3)), rtol=1e-6)


def test_what_openvino_reads_right_stays(graph_of):
    others = [graph_of([("ReduceL1", ["x", "a"], ["y"])], {"a": np.array([1])}, opset=18),
              graph_of([("ReduceL2", ["x"], ["y"], {"axes": [1]})]), graph_of([("ReduceLogSumExp", ["x"], ["y"])])]
    assert [spelled_out_reductions(model) for model in others] == [0, 0, 0]


class Pooled(nn.Module):
    """A pool between average and largest, a norm for each channel, and both times what it pools."""

    def forward(self, x):
        return x * torch.logsumexp(x, (2, 3), keepdim=True) / (1 + x.norm(1, (2, 3), keepdim=True))


@pytest.mark.skipif(not openvino.installed(), reason=f"openvino is missing: {openvino.INSTALL}")
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_a_net_of_torch_has_its_own_answers_in_openvino(tmp_path, dynamo):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Pooled(), nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(1),
                        nn.Flatten(), nn.Linear(8, 5)).eval()
    path, images = tmp_path / "m.onnx", torch.from_numpy(IMAGES)
    torch.onnx.export(net, (images[:1],), str(path), dynamo=dynamo, opset_version=18 if dynamo else 17, verbose=False,
                      **({"external_data": False} if dynamo else {}))
    with torch.no_grad():
        expected = net(images).numpy()
    for made in (normalised(OnnxModel.read(path), path), to_onnx(net, ModelMetadata(model="m"), (8, 9))):
        assert not list(losing_axes(GraphView(made)))
        with OpenVino("f32").open(OnnxModel.of(made), Device(threads=1)) as session:
            answers = np.concatenate([session.run(image[None]) for image in IMAGES])
        np.testing.assert_allclose(answers, expected, rtol=1e-3, atol=1e-5)
