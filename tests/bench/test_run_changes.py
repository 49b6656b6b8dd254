"""Changes of a run that no key names: each does what it says, and goes on from a checkpoint."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench import run_changes
from edge_se.core.recipes import Recipe
from edge_se.training import loop
from edge_se.training.distributed import ALONE

CHANGES = [run_changes.zero_gamma, run_changes.dirac, run_changes.whitened, run_changes.fast_shifts,
           run_changes.lookahead, run_changes.shifts_and_lookahead, run_changes.proxy_filter,
           run_changes.growing_translation]
RECIPE = Recipe.model_validate({
    "batch_size": 10, "amp": "off", "phases": [{"epochs": 4, "resolution": 8}], "augmentation": {"translate": 2},
    "optimizer": {"learning_rate": 0.05, "muon": {"learning_rate": 0.02}}})


@pytest.fixture
def make_run(random_images, tiny_spec, tmp_path):
    """(change) -> a run of four epochs of two steps."""

    def make(change):
        with run_changes.changed(change):
            return loop._Run(tiny_spec("none"), RECIPE, random_images(20, "train"), random_images(20, "validation"),
                             tmp_path, torch.device("cpu"), ALONE)
    return make


def steps(run, count):
    """Makes so many steps within the first epochs."""
    for _ in range(count):
        run._one_step(loop.Silent(), loop.Interrupts())
        if run.state.step == run.steps_per_epoch:
            run.state.epoch, run.state.step = run.state.epoch + 1, 0


class StopsAt(loop.Silent):
    """Interrupts once, after the first step of an epoch."""

    def __init__(self, epoch):
        self.epoch_of_stop = epoch

    def step(self, epoch, step, steps_per_epoch, loss):
        if epoch == self.epoch_of_stop and step == 1:
            raise KeyboardInterrupt


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_stopped_run_ends_as_one_at_a_stretch(change, random_images, tiny_spec, tmp_path):
    images, validation = random_images(20, "train"), random_images(20, "validation")

    def go(folder, watcher, resume=False):
        (tmp_path / folder).mkdir(exist_ok=True)
        with run_changes.changed(change):
            return loop.train(tiny_spec("none"), RECIPE, images, validation, folder=tmp_path / folder,
                              device=torch.device("cpu"), resume=resume, watcher=watcher)
    whole = go("whole", loop.Silent())
    with pytest.raises(KeyboardInterrupt):
        go("turns", StopsAt(3))  # after seven steps of eight: lookahead has looked back once
    rest = go("turns", loop.Silent(), resume=True)
    assert [row["loss"] for row in rest.history] == [row["loss"] for row in whole.history]
    assert all(torch.equal(rest.state[name], tensor) for name, tensor in whole.state.items())


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_alters_the_runs_made_meanwhile_and_no_other(change, make_run):
    steps(plain := make_run(None), 6)
    steps(changed := make_run(change), 6)
    steps(after := make_run(None), 6)
    own, other, again = (next(run.net.parameters()) for run in (plain, changed, after))
    assert torch.equal(own, again) and not torch.equal(own, other)


def test_every_change_of_the_file_is_tested():
    public = {function for name, function in inspect.getmembers(run_changes, inspect.isfunction)
              if function.__module__ == run_changes.__name__ and not name.startswith("_")}
    assert public - {run_changes.changed} == set(CHANGES)


def test_units_begin_as_their_shortcuts(make_run):
    unit = make_run(run_changes.zero_gamma).net.layer1[0]
    images = torch.rand(2, 16, 4, 4)
    assert torch.equal(unit(images), images)  # positive, so that ReLU leaves them


def test_a_convolution_begins_with_its_inputs(make_run):
    net = make_run(run_changes.dirac).net
    images = torch.rand(2, 16, 4, 4)
    assert torch.equal(net.layer1[0].conv1(images), images)
    widened = net.layer3[0].conv1(images)  # 16 to 32, stride 2
    assert torch.equal(widened[:, :16], images[..., ::2, ::2]) and widened[:, 16:].std() > 0.1


def test_shifts_alone_have_the_higher_rate(make_run):
    run, plain = make_run(run_changes.fast_shifts), make_run(None)

    def rates(run):
        return {parameter.data_ptr(): (group["lr"], group["weight_decay"])
                for group in run.optimizer.param_groups for parameter in group["params"]}
    fast = {layer.bias.data_ptr() for layer in run.net.modules() if isinstance(layer, nn.BatchNorm2d)}
    found, before = rates(run), rates(plain)
    assert len(found) == len(before) == len(list(run.net.parameters()))
    for old, new in zip(plain.net.parameters(), run.net.parameters(), strict=True):
        assert found[new.data_ptr()] == ((0.8, 0.0) if new.data_ptr() in fast else before[old.data_ptr()])
    assert sorted(run.peaks) == sorted([*plain.peaks, 0.8])


def test_the_net_goes_back_to_its_average_every_five_steps(make_run):
    run = make_run(run_changes.lookahead)

    def together():
        pairs = zip(run.net.state_dict().values(), run.average.module.state_dict().values(), strict=True)
        return all(torch.equal(*pair) for pair in pairs if pair[0].is_floating_point())
    steps(run, 1)
    first = [tensor.clone() for tensor in run.average.module.parameters()]
    steps(run, 3)
    assert not together() and all(map(torch.equal, first, run.average.module.parameters()))
    steps(run, 1)
    assert together() and not any(map(torch.equal, first, run.average.module.parameters()))
    steps(run, 1)
    assert not together()


def test_the_net_sees_the_half_that_is_hard_for_the_proxy(make_run):
    run = make_run(run_changes.proxy_filter)
    seen = {}
    run.net.net.register_forward_pre_hook(lambda _, inputs: seen.update(net=inputs[0].detach()))
    run.net.proxy.register_forward_hook(lambda _, inputs, logits: seen.update(
        all=inputs[0].detach(), logits=logits.detach()))
    smaller = [sum(p.numel() for p in net.parameters()) for net in (run.net.proxy, run.net.net)]
    assert smaller[0] < smaller[1]
    for step in range(2):
        before = [p.detach().clone() for p in run.net.proxy.parameters()]
        state = run.state.epoch, run.state.step
        steps(run, 1)
        labels = run.labels[run._order(state[0])[10 * state[1] : 10 * state[1] + 10]]
        losses = F.cross_entropy(seen["logits"], labels, reduction="none")
        assert torch.equal(seen["net"], seen["all"][losses.topk(5).indices])
        learned = not all(map(torch.equal, before, run.net.proxy.parameters()))
        assert learned == (step == 0)  # one step of four


def test_translation_grows_with_the_epochs(make_run, monkeypatch):
    run, told = make_run(run_changes.growing_translation), []
    before = run_changes.Augmenter.mixed

    def mixed(augmenter, *arguments):
        told.append(augmenter._recipe.translate)
        return before(augmenter, *arguments)
    monkeypatch.setattr(run_changes.Augmenter, "mixed", mixed)
    steps(run, 8)
    assert told == [0, 0, 1, 1, 2, 2, 2, 2]


def test_a_whitened_net_sees_uncorrelated_components_first(make_run):
    run = make_run(run_changes.whitened)
    first = next(layer for layer in run.net.modules() if isinstance(layer, nn.Conv2d))
    half = len(first.weight) // 2
    assert torch.equal(first.weight[half:], -first.weight[:half])
    pixels = run.augmenter.batch(torch.arange(20), 0, 8, torch.Generator().manual_seed(0))
    seen = F.conv2d(pixels, first.weight[:half]).transpose(0, 1).flatten(1).cov()
    assert (seen - seen.diag().diag()).abs().max() < 1e-4 * seen.diag().max()
    assert (seen.diag().diff() < 0).all()  # the main one first
