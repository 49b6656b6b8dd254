"""Untrained nets are alike on every call, and their activations stay in bounds."""

import pytest
import torch

from edge_se.nets.untrained import build_untrained, state_sha256
from edge_se.nets.zoo import MODELS


def test_two_are_alike_and_the_random_state_is_left_alone(tiny_spec):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second = build_untrained(tiny_spec("pair2x1")), build_untrained(tiny_spec("pair2x1"))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert state_sha256(first) == state_sha256(second)
    with torch.no_grad():
        second.fc.bias[0] += 1
    assert state_sha256(first) != state_sha256(second)


@pytest.mark.parametrize("name", ["mini", "mini_post", "slim_folded", "resnet18_imagenet7"])
def test_activations_stay_of_order_one(name):
    net, largest = build_untrained(MODELS[name]), []
    assert not net.training
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.momentum == 0.1 and module.num_batches_tracked == 1
            module.register_forward_hook(lambda module, inputs, output: largest.append(output.std().item()))
    with torch.no_grad():
        logits = net(torch.randn(16, 3, 32, 32))
    assert logits.isfinite().all() and 0.01 < max(largest) < 10
