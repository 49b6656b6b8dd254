"""Parameters and MACs of torchvision's families equal torch's own counts, from the file that its exporter writes."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from edge_se.data.torchvision_import import torchvision
from edge_se.graph.counting import count
from edge_se.graph.foreign import normalised
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.parameters import parameters_of

PLAIN = {"init_weights": False, "aux_logits": False}
FAMILIES = {
    "alexnet": (224, {}), "squeezenet1_1": (64, {}), "mobilenet_v2": (64, {}), "mobilenet_v3_small": (64, {}),
    "mnasnet0_5": (64, {}), "shufflenet_v2_x0_5": (64, {}), "regnet_x_400mf": (64, {}), "regnet_y_400mf": (64, {}),
    "resnet18": (64, {}), "efficientnet_b0": (64, {}), "googlenet": (64, PLAIN), "densenet121": (64, {}),
    "resnext50_32x4d": (64, {}), "inception_v3": (96, PLAIN), "swin_t": (64, {}), "swin_v2_t": (64, {}),
}


def transformer():
    return torchvision.models.vision_transformer.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=7)


def convnext():
    block = torchvision.models.convnext.CNBlockConfig
    return torchvision.models.convnext.ConvNeXt([block(16, 32, 1), block(32, None, 2)], num_classes=7)


SMALL = {"vit": (32, transformer), "convnext": (64, convnext)}


def tables(net):
    """MACs that torch spends on what no image changes: Swin V2's position biases, by a small network from a table."""
    return sum(layer.in_features * layer.out_features * module.relative_coords_table.numel() // 2
               for module in net.modules() if hasattr(module, "cpb_mlp")
               for layer in module.cpb_mlp if isinstance(layer, torch.nn.Linear))


def check(net, size, path):
    net = net.eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its fused kernels are not counted
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            net(torch.zeros(1, 3, size, size))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    torch.onnx.export(net, (torch.zeros(1, 3, size, size),), str(path), dynamo=False, opset_version=17,
                      training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False, input_names=["x"],
                      dynamic_axes={"x": {0: "n"}})  # batch norms stay
    model = OnnxModel.read(path)
    assert parameters_of(model.proto) == sum(parameter.numel() for parameter in net.parameters())
    assert 2 * count(normalised(model, path)).macs == counter.get_total_flops() - 2 * tables(net)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.filterwarnings("ignore")
def test_small_transformers_count_as_in_torch(tmp_path, name):
    torch.manual_seed(0)
    size, make = SMALL[name]
    check(make(), size, tmp_path / "m.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.filterwarnings("ignore")
def test_families_count_as_in_torch(tmp_path, name):
    torch.manual_seed(0)
    size, options = FAMILIES[name]
    check(torchvision.models.get_model(name, weights=None, num_classes=7, **options), size, tmp_path / "m.onnx")
