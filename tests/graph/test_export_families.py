"""Each family of nets exported: opset, operators, any batch, torch's numbers, and competitive SE as one kernel."""

import numpy as np
import onnx
import pytest
import torch

from edge_se.graph.counting import count
from edge_se.nets.arithmetic import size_of
from edge_se.nets.untrained import build_untrained

PLAIN = {"Conv", "Relu", "Add", "GlobalAveragePool", "Flatten", "Gemm"}
GATED = PLAIN | {"Sigmoid", "Mul"}
VIEWED = GATED | {"Concat", "Reshape"}
# attention, changes of the spec, operators of the graph
FAMILIES = {
    "pre": ("pre", {}, GATED),
    "post": ("post", {}, GATED),
    "identity": ("identity", {}, GATED),
    "double_fc": ("double_fc", {}, GATED | {"Concat"}),
    "pair2x1": ("pair2x1", {}, VIEWED),
    "pair1x1": ("pair1x1", {}, VIEWED),
    "folded": ("folded", {}, VIEWED | {"Transpose"}),
    "imagenet7": ("se", {"stem": "imagenet7"}, GATED | {"MaxPool"}),
    "slim": ("pair2x1", {"dropout": 0.5, "init": "fan_in"}, VIEWED),
    "bottleneck": ("se", {"block": "bottleneck"}, GATED),
    "bottleneck v1": ("none", {"block": "bottleneck_v1", "classes": 20}, PLAIN),
    "preact": ("pair2x1", {"preact": True}, VIEWED | {"BatchNormalization"}),
}


@pytest.fixture(params=FAMILIES)
def family(request, family_onnx, tiny_spec):
    """(net, its graph, its operators)."""
    attention, changes, operators = FAMILIES[request.param]
    spec = tiny_spec(attention, **{"widths": (32, 32, 64, 64)} | changes)
    return build_untrained(spec), family_onnx(attention, **changes), operators


def test_opset_and_operators(family):
    _, model, operators = family
    onnx.checker.check_model(model.proto, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.proto.opset_import] == [("", 17)]
    assert {node.op_type for node in model.proto.graph.node} == operators


@pytest.mark.parametrize("batch", [1, 3])
def test_logits_are_torchs_for_any_batch(family, run_onnx, random_images, batch):
    net, model, _ = family
    images = next(random_images(batch).batches(batch))
    with torch.no_grad():
        expected = net(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(run_onnx(model, images)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("attention", "kernel"), [("pair2x1", (1, 2)), ("pair1x1", (1, 1)), ("folded", (3, 3))])
def test_only_the_folded_kernel_is_in_the_graph(family_onnx, tiny_spec, attention, kernel):
    model = family_onnx(attention)
    views = [tensor for tensor in model.proto.graph.initializer if ".se.view" in tensor.name]
    shapes = sorted(tuple(tensor.dims) for tensor in views)
    assert shapes == [(1,)] * 4 + [(1, 1, *kernel)] * 4
    assert all(tensor.name.endswith(("view.weight", "view.bias")) for tensor in views)
    spec = tiny_spec(attention, widths=(32, 32, 64, 64))
    saved = size_of(spec).macs - count(model.proto).macs
    values = {"pair2x1": [32, 32, 64, 64], "pair1x1": [64, 64, 128, 128], "folded": [28, 28, 84, 84]}[attention]
    maps = [2, 2, 4, 4]
    assert saved == sum((n - 1) * kernel[0] * kernel[1] * flat for n, flat in zip(maps, values))
