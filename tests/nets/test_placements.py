"""Where attention acts in a unit: each placement against its equation, written out."""

from dataclasses import replace

import pytest
import torch

from edge_se.core.errors import ModelError
from edge_se.nets.attention import ATTENTION, SqueezeExcitation
from edge_se.nets.resnet import PreactUnit, Unit
from edge_se.nets.spec import ModelSpec
from edge_se.nets.untrained import build_untrained
from edge_se.nets.zoo import build

COMPETITIVE = [name for name, variant in ATTENTION.items() if variant.place == "both"]
SHAPES = {"identity": (32, 32, 1), "projected": (32, 64, 2)}  # (channels in, channels out, stride)
BLOCKS = ("basic", "bottleneck", "bottleneck_v1")


def unit_of(attention, block="basic", shape=(32, 64, 2), preact=False):
    torch.manual_seed(0)
    spec = ModelSpec(name="unit", attention=attention, block=block, preact=preact, reduction=4)
    unit = (PreactUnit if preact else Unit)(*shape, spec)
    for module in unit.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(std=0.3)
    return unit.eval()


def branch_of(unit, block):
    """F as the paper writes it."""
    if block == "basic":
        return lambda x: unit.bn2(unit.conv2(torch.relu(unit.bn1(unit.conv1(x)))))
    return lambda x: unit.bn3(unit.conv3(torch.relu(unit.bn2(unit.conv2(torch.relu(unit.bn1(unit.conv1(x))))))))


EQUATIONS = {
    "none": lambda F, S, SE, x: torch.relu(F(x) + S(x)),
    "se": lambda F, S, SE, x: torch.relu(SE(F(x)) + S(x)),
    "pre": lambda F, S, SE, x: torch.relu(F(SE(x)) + S(x)),
    "post": lambda F, S, SE, x: SE(torch.relu(F(x) + S(x))),
    "identity": lambda F, S, SE, x: torch.relu(F(x) + SE(S(x))),
    **{name: lambda F, S, SE, x: torch.relu(F(x) * SE.excitation(F(x), S(x)) + S(x)) for name in COMPETITIVE},
}


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("attention", ATTENTION)
def test_the_equation(attention, shape, block):
    inputs, width, stride = SHAPES[shape]
    if block != "basic" and shape == "identity":
        inputs = 4 * width
    unit, x = unit_of(attention, block, (inputs, width, stride)), torch.randn(2, inputs, 8, 8)
    assert isinstance(unit.downsample, torch.nn.Identity) == (shape == "identity")
    with torch.no_grad():
        expected = EQUATIONS[attention](branch_of(unit, block), unit.downsample, unit.se, x)
        torch.testing.assert_close(unit(x), expected)


@pytest.mark.parametrize("attention", ["none", "se", *COMPETITIVE])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_equation_of_a_preactivation_unit(attention, shape):
    unit, x = unit_of(attention, shape=SHAPES[shape], preact=True), torch.randn(2, 32, 8, 8)
    with torch.no_grad():
        h = torch.relu(unit.bn1(x))
        s = x if shape == "identity" else unit.downsample(h)
        u = unit.conv2(torch.relu(unit.bn2(unit.conv1(h))))
        excitation = {"none": lambda: 1, "se": lambda: unit.se.excitation(u)}.get(
            attention, lambda: unit.se.excitation(u, s))()
        torch.testing.assert_close(unit(x), u * excitation + s)
    assert (s < 0).any() and (unit(x) < 0).any()  # neither a batch norm nor a ReLU behind the sum
    if shape == "projected":
        assert isinstance(unit.downsample, torch.nn.Conv2d)


def test_a_preactivation_net_ends_with_batch_norm_and_relu(tiny_net):
    net, seen = tiny_net("pair2x1", preact=True), {}
    net.layer4.register_forward_hook(lambda module, inputs, output: seen.update(last=output))
    net.fc.register_forward_hook(lambda module, inputs, output: seen.update(pooled=inputs[0]))
    with torch.no_grad():
        net(torch.randn(2, 3, 32, 32))
        torch.testing.assert_close(seen["pooled"], torch.relu(net.bn1(seen["last"])).mean((2, 3)))
    assert "bn1.weight" in net.state_dict() and net.bn1.num_features == 32


@pytest.mark.parametrize("attention", ["pre", "post", "identity"])
def test_placements_that_preactivation_does_not_know_are_refused(attention):
    with pytest.raises(ModelError, match=f"net: attention '{attention}' is not defined for pre-activation units; take"):
        build(ModelSpec(name="net", attention=attention, preact=True))


@pytest.mark.parametrize(("attention", "preact"), [*((name, False) for name in ATTENTION if name != "none"),
                                                   *((name, True) for name in ("se", *COMPETITIVE))])
def test_an_open_excitation_makes_the_plain_net(tiny_spec, attention, preact):
    widths = (32, 32, 64, 64)
    gated, plain = (build_untrained(tiny_spec(kind, widths=widths, preact=preact)) for kind in (attention, "none"))
    plain.load_state_dict({name: tensor for name, tensor in gated.state_dict().items() if ".se." not in name})
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(gated(images), plain(images), atol=1e-4)
        excitations = [module for module in gated.modules() if hasattr(module, "excitation")]
        for module in excitations:
            module.excitation = lambda u, s=None: torch.ones_like(u[..., :1, :1])
        torch.testing.assert_close(gated(images), plain(images))
    assert len(excitations) == 4


def test_only_the_input_excitation_is_as_wide_as_the_input():
    widths = {name: unit_of(name).se.fc1.in_channels for name in ("se", "pre", "post", "identity")}
    assert widths == {"se": 64, "pre": 32, "post": 64, "identity": 64}


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
    excitation = 1 / (1 + torch.exp(-(inner.clamp(min=0) @ second.T + (module.fc2.bias if bias else 0))))
    torch.testing.assert_close(module(u), u * excitation[:, :, None, None])
    torch.testing.assert_close(module.excitation(u), excitation[:, :, None, None])


def test_weights_of_an_older_edge_se_still_fit():
    """The tensors of the bundled nets, by name: what a weights file of version 0.1 holds."""
    with torch.device("meta"):
        names = build(replace(ModelSpec(name="se_resnet18"), attention="se")).state_dict().keys()
    unit = {f"{part}.{tensor}" for part in ("bn1", "bn2") for tensor in
            ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}
    unit |= {"conv1.weight", "conv2.weight", "se.fc1.weight", "se.fc2.weight"}
    assert {name.removeprefix("layer2.1.") for name in names if name.startswith("layer2.1.")} == unit
    assert {"conv1.weight", "bn1.running_var", "layer2.0.downsample.0.weight", "layer2.0.downsample.1.bias",
            "fc.weight", "fc.bias"} <= names
