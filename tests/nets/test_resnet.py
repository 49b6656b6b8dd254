"""ResNets are torchvision's, start as specified, and take any batch and size."""

from dataclasses import replace

import pytest
import torch

from edge_se.nets.resnet import ResNet
from edge_se.nets.untrained import build_untrained
from edge_se.nets.zoo import MODELS, build

PLAIN, SE = MODELS["resnet18"], MODELS["se_resnet18"]


def net_of(attention, stem, **changes):
    return ResNet(replace(SE if attention == "se" else PLAIN, stem=stem, **changes))


def randomised(net):
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(std=0.1)
    return net.eval()


@pytest.mark.parametrize("stem", ["imagenet7", "cifar3"])
def test_the_plain_net_is_torchvisions(stem):
    from edge_se.data.torchvision_import import torchvision

    torch.manual_seed(0)
    ours = randomised(net_of("none", stem))
    theirs = torchvision.models.resnet18(num_classes=10)
    if stem == "cifar3":
        theirs.conv1, theirs.maxpool = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False), torch.nn.Identity()
    theirs.load_state_dict(ours.state_dict())  # strict: the same names and shapes
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs.eval()(images))


def test_resnet50_is_torchvisions():
    from edge_se.data.torchvision_import import torchvision

    torch.manual_seed(0)
    ours = randomised(build(MODELS["resnet50"]))
    theirs = torchvision.models.resnet50()
    theirs.load_state_dict(ours.state_dict())  # strict: the same names and shapes
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs.eval()(images))


def test_resnet50_v1_strides_on_the_first_1x1():
    with torch.device("meta"):
        v1, v15 = build(MODELS["resnet50_v1"]), build(MODELS["resnet50"])
    assert v1.state_dict().keys() == v15.state_dict().keys()
    assert [v1.layer2[0].conv1.stride, v1.layer2[0].conv2.stride] == [(2, 2), (1, 1)]
    assert [v15.layer2[0].conv1.stride, v15.layer2[0].conv2.stride] == [(1, 1), (2, 2)]


def test_initialisation():
    torch.manual_seed(0)
    net = net_of("se", "cifar3")
    spread = net.layer3[0].conv1.weight.std().item()
    assert spread == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)  # Kaiming normal, fan_out
    excitation = net.layer3[0].se.fc1.weight
    assert excitation.abs().max().item() <= 1 / 256 ** 0.5  # PyTorch's default is uniform and bounded


def test_the_slim_net_starts_by_fan_in_and_drops_half_before_the_classifier():
    torch.manual_seed(0)
    net = build(MODELS["slim_se"])
    weight = net.layer3[0].conv1.weight  # 64 -> 128
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert net.dropout.p == 0.5
    features = torch.ones(64, 256)
    assert 0.4 < (net.dropout(features) == 0).float().mean() < 0.6
    assert torch.equal(net.eval().dropout(features), features)


def test_the_authors_view_convolutions_start_as_convolutions_do():
    torch.manual_seed(0)
    net = build(replace(MODELS["cmpe_resnet18_folded"], widths=(64, 512, 512, 512)))
    excitation = net.layer4[1].se
    assert excitation.view.conv.weight.std().item() == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.15)
    assert excitation.fc2.weight.abs().max().item() <= 1 / 32 ** 0.5  # PyTorch's default is uniform and bounded


@pytest.mark.parametrize(("attention", "stem"), [("none", "imagenet7"), ("folded", "paper3s2"), ("pre", "cifar3")])
def test_any_batch_at_both_sizes(tiny_spec, attention, stem):
    net = build_untrained(tiny_spec(attention, stem=stem, widths=(32, 32, 32, 32)))
    images = torch.randn(3, 3, 224, 224)
    with torch.no_grad():
        for size in (32, 224):
            logits = net(images[..., :size, :size])
            assert logits.shape == (3, 10)
            torch.testing.assert_close(net(images[:1, :, :size, :size]), logits[:1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith(("mini", "slim", "resnet18_preact"))])
def test_gradients_reach_every_parameter(name):
    torch.manual_seed(0)
    spec = replace(MODELS[name], blocks=(1, 1, 1, 1), widths=(32, 32, 64, 64), reduction=2)  # few dead hidden units
    net = build(spec)
    torch.nn.functional.cross_entropy(net(torch.randn(8, 3, 32, 32)), torch.arange(8)).backward()
    assert not [name for name, parameter in net.named_parameters()
                if parameter.grad is None or not parameter.grad.isfinite().all() or not parameter.grad.any()]


def test_spatial_trace():
    shapes = []
    net = net_of("none", "cifar3").eval()
    for stage in (net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4):
        stage.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape[-1]))
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert shapes == [32, 32, 16, 8, 4]
