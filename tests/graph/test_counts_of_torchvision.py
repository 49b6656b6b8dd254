"""Parameters and MACs of torchvision's families equal torch's own counts, from the file that its exporter writes."""

import pytest
import torch

from bench.counts import compared
from edge_se.data.torchvision_import import torchvision

PLAIN = {"init_weights": False, "aux_logits": False}
FAMILIES = {  # one of each kind of operator; bench/counts.py takes all
    "mobilenet_v3_small": (64, {}), "shufflenet_v2_x0_5": (64, {}), "regnet_y_400mf": (64, {}),
    "efficientnet_b0": (64, {}), "googlenet": (64, PLAIN), "densenet121": (64, {}), "swin_v2_t": (64, {}),
}


def transformer():
    return torchvision.models.vision_transformer.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=7)


def convnext():
    block = torchvision.models.convnext.CNBlockConfig
    return torchvision.models.convnext.ConvNeXt([block(16, 32, 1), block(32, None, 2)], num_classes=7)


SMALL = {"vit": (32, transformer), "convnext": (64, convnext)}


def check(net, size, path):
    row = compared(net, size, path)
    assert row["params"] == row["params_torch"]
    assert row["macs"] == row["macs_torch"] - row["macs_of_tables"]


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
