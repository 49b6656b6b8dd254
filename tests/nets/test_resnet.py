"""Counts of the model specification (section 6) to the last digit, and equality with torchvision and plain formulas."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from edge_se.nets.attention import SqueezeExcitation
from edge_se.nets.resnet import ResNet
from edge_se.nets.zoo import MODELS

PLAIN, SE = MODELS["resnet18"], MODELS["se_resnet18"]
# (attention, stem) -> trainable parameters, MACs at 32 px, MACs at 224 px
SPECIFIED = {
    ("none", "imagenet7"): (11_181_642, 37_016_576, 1_813_566_464),
    ("none", "paper3s2"): (11_173_962, 35_050_496, 1_717_228_544),
    ("none", "cifar3"): (11_173_962, 555_422_720, None),
    ("se", "imagenet7"): (11_268_682, 37_103_616, 1_813_653_504),
    ("se", "paper3s2"): (11_261_002, 35_137_536, 1_717_315_584),
    ("se", "cifar3"): (11_261_002, 555_509_760, None),
}
VARIANTS = [pytest.param(*key, id="-".join(key)) for key in SPECIFIED]


def net_of(attention, stem, **changes):
    return ResNet(replace(SE if attention == "se" else PLAIN, stem=stem, **changes))


def parameters(net):
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


def macs(net, size):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.zeros(1, 3, size, size))
    assert counter.get_total_flops() % 2 == 0
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(("attention", "stem"), VARIANTS)
def test_parameters_and_macs(attention, stem):
    net, (expected, at_32, at_224) = net_of(attention, stem), SPECIFIED[attention, stem]
    assert parameters(net) == expected
    assert macs(net, 32) == at_32
    if at_224:
        assert macs(net, 224) == at_224


def test_parameters_with_biases_in_the_gates():
    assert parameters(net_of("se", "cifar3", attention_bias=True)) == 11_263_042


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


def test_an_open_gate_makes_the_plain_net(tiny_net):
    se, plain = tiny_net("se"), tiny_net("none")
    missing = plain.load_state_dict({name: tensor for name, tensor in se.state_dict().items() if ".se." not in name})
    assert not missing.missing_keys
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(se(images), plain(images), atol=1e-2)
        for module in se.modules():
            if isinstance(module, SqueezeExcitation):
                module.gate = lambda u: torch.ones_like(u[..., :1, :1])
        torch.testing.assert_close(se(images), plain(images))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("channels", "reduction", "hidden"), [(32, 4, 8), (32, 16, 2), (8, 16, 1)])
def test_se_is_the_plain_formula(channels, reduction, hidden, bias):
    torch.manual_seed(0)
    module = SqueezeExcitation(channels, reduction, bias)
    first, second = module.fc1.weight[..., 0, 0], module.fc2.weight[..., 0, 0]
    assert first.shape == (hidden, channels) and second.shape == (channels, hidden)
    u = torch.randn(3, channels, 5, 7)
    squeezed = u.flatten(2).mean(2)
    inner = squeezed @ first.T + (module.fc1.bias if bias else 0)
    gate = 1 / (1 + torch.exp(-(inner.clamp(min=0) @ second.T + (module.fc2.bias if bias else 0))))
    torch.testing.assert_close(module(u), u * gate[:, :, None, None])
    torch.testing.assert_close(module.gate(u), gate[:, :, None, None])


def test_initialisation():
    torch.manual_seed(0)
    net = net_of("se", "cifar3")
    spread = net.layer3[0].conv1.weight.std().item()
    assert spread == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)  # Kaiming normal, fan_out
    gate = net.layer3[0].se.fc1.weight
    assert gate.abs().max().item() <= 1 / 256 ** 0.5  # PyTorch's default is uniform and bounded


def test_spatial_trace():
    shapes = []
    net = net_of("none", "cifar3").eval()
    for stage in (net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4):
        stage.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape[-1]))
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert shapes == [32, 32, 16, 8, 4]
