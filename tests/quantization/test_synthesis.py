"""Images made from a net alone: they match its batch norms better than noise does, and are decided by their seed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edge_se.core.errors import CalibrationError
from edge_se.data.preprocessing import CIFAR10, assumed, tensor
from edge_se.nets.zoo import MODELS
from edge_se.quantization import synthesis as module
from edge_se.quantization.synthesis import SynthesisPlan, _BatchNormLoss, _pixel_limits, _to_pixels, synthesize
from edge_se.steps.data import synthesize as step


def made(net, **changes):
    plan = SynthesisPlan(**({"images": 20, "steps": 40} | changes))
    heard = []
    pixels = synthesize(net, plan, replace(CIFAR10, size=(16, 16)), classes=10, advance=heard.append)
    assert sum(heard) == plan.steps
    return pixels


def mismatch(net, pixels):
    with _BatchNormLoss(net) as matching, torch.no_grad():
        net.eval()(torch.from_numpy(tensor(pixels, CIFAR10)))
        return float(matching.loss())


@pytest.fixture
def smooth_net(tiny_net):
    """A net whose batch norms saw smooth images."""
    net = tiny_net("se").train()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(20):
            net(nn.functional.interpolate(torch.randn(32, 3, 3, 3, generator=generator), size=16, mode="bilinear"))
    return net.eval()


def test_they_match_the_batch_norms_better_than_noise(smooth_net, random_images):
    pixels = made(smooth_net)
    assert (pixels.shape, pixels.dtype) == ((20, 3, 16, 16), np.uint8)
    assert pixels.flags["C_CONTIGUOUS"]
    assert mismatch(smooth_net, pixels) < 0.5 * mismatch(smooth_net, random_images(20, size=16).pixels)


def test_the_seed_decides(tiny_net):
    first = made(tiny_net("se"), steps=3)
    np.testing.assert_array_equal(first, made(tiny_net("se"), steps=3))
    assert not np.array_equal(first, made(tiny_net("se"), steps=3, seed=1))


def test_the_net_is_left_as_it_was(tiny_net):
    net = tiny_net("se")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    made(net, steps=2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_a_net_without_batch_norm():
    with pytest.raises(CalibrationError, match="has no batch norm to match"):
        made(nn.Sequential(nn.Conv2d(3, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()))


@pytest.mark.parametrize("how", [
    CIFAR10, assumed((224, 224)), replace(CIFAR10, mean=(0.5,) * 3, std=(0.5,) * 3), replace(CIFAR10, range="-1-1"),
    replace(CIFAR10, range="0-255", mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4))], ids=lambda how: how.range)
def test_pixels_are_those_that_the_net_would_see_so(how):
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(3, axis=1)
    seen = tensor(pixels, how)
    np.testing.assert_array_equal(_to_pixels(torch.from_numpy(seen), how), pixels)
    black, white = _pixel_limits(how)
    np.testing.assert_allclose(black.ravel(), seen[0, :, 0, 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(white.ravel(), seen[0, :, 15, 15], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [32, 64])
def test_the_command_takes_the_nets_own_size_and_normalisation(zoo_net, monkeypatch, tmp_path, size):
    spec, weights, _ = zoo_net
    monkeypatch.setitem(MODELS, spec.name, replace(spec, input_size=size))
    asked = []
    monkeypatch.setattr(module, "synthesize", lambda net, plan, how, **_: asked.append(how) or np.zeros(
        (1, 3, *how.size), np.uint8))
    step(spec.name, weights=weights, steps=1, out=tmp_path / "x.npz")
    assert [(how.size, how.mean) for how in asked] == [((size, size), assumed((size, size)).mean)]
