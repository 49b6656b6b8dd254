"""torch -> ONNX: equal bytes, nothing of this machine, opset 17 where it can be, dynamic batch, torch's own numbers."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edge_se.graph.export import INPUT, OUTPUT, to_onnx
from edge_se.graph.metadata import ModelMetadata
from edge_se.graph.onnx_model import OnnxModel


@pytest.fixture(params=["none", "se"])
def pair(request, tiny_net, tiny_onnx, tiny_plain_onnx):
    """(net, its graph)."""
    return tiny_net(request.param), tiny_onnx if request.param == "se" else tiny_plain_onnx


def test_two_exports_are_equal_bytes(tiny_net, tiny_onnx):
    net = tiny_net("se")
    params = sum(parameter.numel() for parameter in net.parameters())
    again = to_onnx(net, ModelMetadata(model=net.spec.name, params=params), 32)
    assert OnnxModel.of(again).sha256 == tiny_onnx.sha256


def test_nothing_of_this_machine_is_inside(pair):
    _, model = pair
    content = model.content.decode("latin-1")
    for trace in (str(Path(torch.__file__).parent), str(Path(__file__).parents[2]), str(Path.home()), "site-packages",
                  "stack_trace", ".py", torch.__version__):
        assert trace not in content, trace
    graph = model.proto.graph
    assert not any(item.doc_string or item.metadata_props for item in (graph, *graph.node, *graph.value_info))


def test_opset_and_interface(pair):
    net, model = pair
    proto = model.proto
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 17)]
    assert (proto.producer_name, proto.graph.name) == ("edge-se", net.spec.name)
    assert (model.input_name, model.input_shape) == (INPUT, (None, 3, 32, 32))
    assert [output.name for output in proto.graph.output] == [OUTPUT]
    onnx.checker.check_model(proto, full_check=True)


def test_only_operators_with_int8_kernels_and_the_excitations(pair):
    net, model = pair
    used = {node.op_type for node in model.proto.graph.node}
    excitations = {"Sigmoid", "Mul"} if net.spec.attention == "se" else set()
    assert used == {"Conv", "Relu", "Add", "GlobalAveragePool", "Flatten", "Gemm"} | excitations  # batch norm is folded
    pools = sum(node.op_type == "GlobalAveragePool" for node in model.proto.graph.node)
    assert pools == 1 + (sum(net.spec.blocks) if excitations else 0)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_logits_are_torchs_for_any_batch(pair, run_onnx, random_images, batch):
    net, model = pair
    images = next(random_images(batch).batches(batch))
    with torch.no_grad():
        expected = net(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(run_onnx(model, images)[0], expected, rtol=1e-4, atol=1e-4)


def test_a_net_in_training_mode_is_exported_for_inference(tiny_net, tiny_onnx):
    net = tiny_net("se").train()
    params = sum(parameter.numel() for parameter in net.parameters())
    assert OnnxModel.of(to_onnx(net, ModelMetadata(model="tiny_se", params=params), 32)).sha256 == tiny_onnx.sha256


def test_the_exporter_prints_nothing_to_stdout(tiny_net, capfd):
    to_onnx(tiny_net("none"), ModelMetadata(model="x"), 32)
    assert not re.search(r"\S", capfd.readouterr().out)


class _Halves(nn.Module):
    def forward(self, x):
        first, second = x.chunk(2, 1)
        return torch.cat([second, first], 1)


class _Parts(nn.Module):
    def forward(self, x):
        first, second = x.split([3, 5], 1)
        return torch.cat([second, first], 1)


@pytest.mark.parametrize("layer", [_Halves(), _Parts(), nn.Mish(), nn.ReflectionPad2d(1)])
def test_what_opset_17_has_no_form_of_keeps_its_own(run_onnx, layer):
    net = nn.Sequential(nn.Conv2d(3, 8, 3), layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
    model = OnnxModel.of(to_onnx(net, ModelMetadata(model="x"), 16))
    assert (model.opset, model.proto.ir_version) == (18, 8)
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        np.testing.assert_allclose(run_onnx(model, images.numpy())[0], net(images).numpy(), rtol=1e-4, atol=1e-4)


class _Reduced(nn.Module):
    def __init__(self, reduction):
        super().__init__()
        self.reduction = reduction

    def forward(self, x):
        return x / (1 + self.reduction(x, dim=1, keepdim=True))


@pytest.mark.parametrize("reduction", [torch.linalg.vector_norm, torch.logsumexp, torch.prod],
                         ids=lambda reduction: reduction.__name__)
def test_every_reduction_has_a_form_in_opset_17(run_onnx, reduction):
    layers = [nn.Conv2d(3, 4, 3), nn.Sigmoid(), _Reduced(reduction), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    net = nn.Sequential(*layers, nn.Linear(4, 4)).eval()
    model = OnnxModel.of(to_onnx(net, ModelMetadata(model="x"), 16))
    assert model.opset == 17 and any(node.op_type.startswith("Reduce") for node in model.proto.graph.node)
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        np.testing.assert_allclose(run_onnx(model, images.numpy())[0], net(images).numpy(), rtol=1e-4, atol=1e-4)
