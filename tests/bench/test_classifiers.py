"""The nets of the benchmark of classifiers: which, in which combinations, and with which random weights."""

import pytest
import torch
from torch import nn

from bench import classifiers
from bench.classifier_nets import LARGEST, SMALL, TIMM, Net, nets, randomised, warm
from edge_se.data.torchvision_import import torchvision


class Block(nn.Module):
    """What libraries leave at zero or one: norms, a layer's scale, a class token, a head."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5)
        self.gamma = nn.Parameter(1e-6 * torch.ones(4, 1, 1))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images):
        return self.head((self.gamma * self.norm(self.conv(images))).mean((2, 3)))


def test_all_of_torchvision_and_forty_families_of_timm_are_there_once():
    names = [net.name for net in nets()]
    assert len(names) == len(set(names)) and len(TIMM) >= 30 and set(TIMM) < set(names) and set(SMALL) < set(names)
    assert set(torchvision.models.list_models(module=torchvision.models)) == set(names) - set(TIMM)


@pytest.mark.parametrize(("name", "params", "ways"), [
    ("resnet18", 11_689_512, ["torchscript-dynamic", "dynamo-static", "torchscript-static", "dynamo-dynamic"]),
    ("resnet34", 21_797_672, ["torchscript-dynamic", "dynamo-static"]), ("vgg16", 138_357_544, ["torchscript-dynamic"]),
    ("deit_tiny_patch16_224", None,
     ["torchscript-dynamic", "dynamo-static", "torchscript-static", "dynamo-dynamic"])])
def test_small_members_go_all_ways_and_huge_ones_one(name, params, ways):
    net = next(net for net in nets() if net.name == name)
    assert net.params == params and ["-".join(how) for how in (*net.combinations, *net.extra)] == ways


def test_nothing_is_left_constant_and_equal_nets_are_equal():
    torch.manual_seed(0)
    first = randomised(Block())
    for name, parameter in first.named_parameters():
        assert parameter.unique().numel() == parameter.numel(), name
    assert bool(((first.gamma >= 0.5) & (first.gamma <= 1.5)).all())
    torch.manual_seed(0)
    assert all(torch.equal(*pair) for pair in zip(first.parameters(), randomised(Block()).parameters()))


def test_batch_norms_have_the_statistics_of_the_images():
    net, images = randomised(Block()), torch.randn(48, 3, 6, 6)
    warm(net, images)
    made = net.conv(images).detach()
    means = torch.stack([batch.mean((0, 2, 3)) for batch in torch.split(made, 32)]).mean(0)
    assert not net.training and not net.norm.training and torch.allclose(net.norm.running_mean, means, atol=1e-5)


def test_what_is_measured_already_is_not_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(classifiers, "PARTS", tmp_path)
    net, huge = Net(library="timm", name="resnet18", size=64), Net(library="timm", name="h", size=64, params=LARGEST)
    assert len(classifiers.missing_of(net, False)) == len(classifiers.missing_of(net, True)) == 2
    row = '{"exporter": "dynamo", "batch": "static"}'
    (tmp_path / "resnet18.json").write_text('{"why_not": null, "rows": [' + row + "]}")
    assert classifiers.missing_of(net, False) == [("torchscript", "dynamic")]
    (tmp_path / "h.json").write_text('{"why_not": "too large", "rows": []}')
    assert classifiers.missing_of(huge, False) == []
