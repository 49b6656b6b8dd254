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


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_muon_updates_kernels_as_matrices_and_leaves_the_rest_to_the_other(tiny_net, layout):
    """Kernels of every shape: 3x3, 1x1 and a stem of three channels; torch's own Muon over flattened copies agrees."""
    net = copy.deepcopy(tiny_net("se")).to(memory_format=layout)
    twin = copy.deepcopy(net)
    ours = optimizer_of(net, recipe(muon={"learning_rate": 0.03, "momentum": 0.9, "weight_decay": 0.05, "steps": 3}))
    kernels = [parameter for parameter in twin.parameters() if parameter.ndim == 4]
    matrices = [torch.nn.Parameter(kernel.detach().flatten(1).clone()) for kernel in kernels]
    muon = torch.optim.Muon(matrices, lr=0.03, momentum=0.9, weight_decay=0.05, ns_steps=3)
    rest = [parameter for parameter in twin.parameters() if parameter.ndim != 4]
    sgd = torch.optim.SGD(rest, lr=0.1, momentum=0.9, nesterov=True)
    assert {tuple(kernel.shape[2:]) for kernel in kernels} == {(3, 3), (1, 1)} and rest
    images = torch.randn(8, 3, 16, 16).contiguous(memory_format=layout)
    for _ in range(3):
        net(images).square().mean().backward()
        gradients = [parameter.grad.clone() for parameter in net.parameters()]
        for matrix, gradient in zip(matrices, (gradient for gradient in gradients if gradient.ndim == 4)):
            matrix.grad = gradient.flatten(1)
        for parameter, gradient in zip(rest, (gradient for gradient in gradients if gradient.ndim != 4)):
            parameter.grad = gradient + (5e-4 * parameter.detach() if gradient.ndim > 1 else 0)
        for optimizer in (ours, muon, sgd):
            optimizer.step()
        net.zero_grad()
    updated = [parameter for parameter in net.parameters() if parameter.ndim == 4]
    for kernel, matrix in zip(updated, matrices):  # bfloat16 within, and another order of columns
        torch.testing.assert_close(kernel.flatten(1), matrix, atol=5e-3, rtol=5e-3)
    for parameter, other in zip((p for p in net.parameters() if p.ndim != 4), rest):
        torch.testing.assert_close(parameter, other, atol=5e-3, rtol=5e-3)


def test_muon_has_a_learning_rate_of_its_own_that_reaches_it(tiny_net):
    net = tiny_net("se")
    optimizer = optimizer_of(net, recipe(muon={"learning_rate": 0.02}))
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.1, 0.02]
    state = optimizer.state_dict()
    optimizer.load_state_dict(state)  # a part has other groups then, and they must be those that are listed
    before = [parameter.detach().clone() for parameter in net.parameters()]
    net(torch.randn(4, 3, 16, 16)).square().mean().backward()
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    optimizer.step()
    assert all(torch.equal(old, new) for old, new in zip(before, net.parameters()))


def test_a_net_without_kernels_has_no_muon():
    net = torch.nn.Linear(4, 2)
    assert isinstance(optimizer_of(net, recipe(muon={"learning_rate": 0.02})), torch.optim.SGD)


def test_parts_together_take_no_closure(tiny_net):
    optimizer = optimizer_of(tiny_net("none"), recipe(muon={"learning_rate": 0.02}))
    with pytest.raises(TypeError, match="closure"):
        optimizer.step(lambda: 0.0)
