"""Optimisers: what is decayed, and that each is the one that the recipe names."""

import copy

import pytest
import torch

from edge_se.core.recipes import Recipe
from edge_se.training.optimizers import optimizer_of


def recipe(**optimizer):
    return Recipe(phases=({"epochs": 1},), optimizer={"learning_rate": 0.1, **optimizer})


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_norms_and_biases_are_not_decayed_unless_asked(tiny_net, name):
    net = tiny_net("se")
    decayed, spared = optimizer_of(net, recipe(name=name)).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (5e-4, 0)
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert all(parameter.ndim == 1 for parameter in spared["params"])
    assert len(decayed["params"]) + len(spared["params"]) == len(list(net.parameters()))
    (everything,) = optimizer_of(net, recipe(name=name, decay_norm_and_bias=True)).param_groups
    assert everything["weight_decay"] == 5e-4


@pytest.mark.parametrize(("name", "plain"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("kind", [None, torch.bfloat16])
def test_the_fused_update_is_the_plain_one(tiny_net, name, plain, layout, kind):
    """Also where weights lie in channels_last, which a fused kernel walks through as they lie."""
    net = copy.deepcopy(tiny_net("se")).to(memory_format=layout)
    twin, images = copy.deepcopy(net), torch.randn(8, 3, 16, 16).contiguous(memory_format=layout)
    ours = optimizer_of(net, recipe(name=name, learning_rate=0.01, decay_norm_and_bias=True))
    options = {"nesterov": True, "momentum": 0.9} if name == "sgd" else {"betas": (0.9, 0.999)}
    theirs = plain(twin.parameters(), lr=0.01, weight_decay=5e-4, foreach=False, **options)
    for _ in range(3):
        with torch.autocast("cpu", kind, enabled=kind is not None):
            net(images).float().square().mean().backward()
        for parameter, other in zip(net.parameters(), twin.parameters()):
            other.grad = parameter.grad.clone()
        for optimizer in (ours, theirs):
            optimizer.step()
            optimizer.zero_grad()
    for parameter, other in zip(net.parameters(), twin.parameters()):
        torch.testing.assert_close(parameter, other, atol=1e-5, rtol=1e-5)


def test_settings_arrive(tiny_net):
    net = tiny_net("none")
    sgd = optimizer_of(net, recipe(momentum=0.8))
    assert isinstance(sgd, torch.optim.SGD) and sgd.defaults["momentum"] == 0.8 and sgd.defaults["nesterov"]
    assert not optimizer_of(net, recipe(momentum=0)).defaults["nesterov"]  # torch refuses it without momentum
    adamw = optimizer_of(net, recipe(name="adamw", momentum=0.85))
    assert isinstance(adamw, torch.optim.AdamW) and adamw.defaults["betas"] == (0.85, 0.999)
