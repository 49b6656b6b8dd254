"""What only a GPU needs, as far as a machine without one can tell."""

import pytest
import torch

from edge_se.core.recipes import Recipe
from edge_se.training.gpu import in_parts, searched_convolutions, without_tf32

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def recipe(policy="none"):
    return Recipe(phases=({"epochs": 1},), optimizer={"learning_rate": 0.1}, augmentation={"policy": policy})


def precisions():
    return torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision


@pytest.fixture
def in_tf32():
    settings, before = (torch.backends.cudnn.conv, torch.backends.cuda.matmul), precisions()
    for each in settings:
        each.fp32_precision = "tf32"
    yield
    for each, precision in zip(settings, before):
        each.fp32_precision = precision


@pytest.mark.parametrize(("device", "within"), [(CUDA, ("ieee", "ieee")), (CPU, ("tf32", "tf32"))])
def test_fp32_is_fp32_on_a_gpu_and_settings_are_as_before_after_it(in_tf32, device, within):
    with pytest.raises(KeyboardInterrupt), without_tf32(device):
        assert precisions() == within
        raise KeyboardInterrupt
    assert precisions() == ("tf32", "tf32")


@pytest.mark.parametrize(("device", "policy", "within"), [
    (CUDA, "none", True), (CUDA, "randaugment", False), (CPU, "none", False)])
def test_convolutions_are_searched_where_shapes_stay_the_same(monkeypatch, device, policy, within):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    with searched_convolutions(device, recipe(policy)):
        assert torch.backends.cudnn.benchmark is within
    assert torch.backends.cudnn.benchmark is False


def test_batches_that_do_not_fit_are_cut_and_answered_in_order():
    sizes = []

    def net(images):
        sizes.append(len(images))
        if len(images) > 3:
            raise torch.OutOfMemoryError
        return images.flatten(1)
    images = torch.arange(10.0).view(10, 1, 1, 1)
    assert torch.equal(in_parts(net, images), images.flatten(1))
    assert sizes == [10, 5, 3, 2, 5, 3, 2]


def test_one_image_that_does_not_fit_is_an_error():
    def net(images):
        raise torch.OutOfMemoryError
    with pytest.raises(torch.OutOfMemoryError):
        in_parts(net, torch.zeros(2, 3, 4, 4))
