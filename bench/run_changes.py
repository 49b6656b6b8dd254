"""Changes to a training that no key of a recipe names, for bench/recipe_trials.py: only what wins becomes a key.

Each takes a run whose net and optimiser were just made, before it goes on from a checkpoint. What it adds lies in the
net, the optimiser or the average, and so in checkpoints. airbench is github.com/KellerJordan/cifar10-airbench.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel

from edge_se.data.augment import Augmenter, Batch
from edge_se.nets.resnet import ResNet, Unit
from edge_se.nets.spec import ModelSpec
from edge_se.nets.zoo import build
from edge_se.training import loop
from edge_se.training.optimizers import Together, optimizer_of

Change = Callable[[loop._Run], None]
SHIFTS = 16  # times the learning rate; airbench94 has 64
LOOKAHEAD_STEPS = 5
WHITENING_IMAGES = 5000  # airbench94
PROXY_STEPS = 4  # of which one trains the proxy


@contextmanager
def changed(change: Change | None) -> Iterator[None]:
    """Applies `change` to each run that is made meanwhile."""
    make = loop._Run._make_net

    def made(run: loop._Run, spec: ModelSpec) -> None:
        make(run, spec)
        if change is not None:
            change(run)
    with mock.patch.object(loop._Run, "_make_net", made):
        yield


def zero_gamma(run: loop._Run) -> None:
    """Units begin as their shortcuts: the last batch norm of each has weight 0 (arXiv 1706.02677, section 5.1)."""
    for unit in _all(run, Unit):
        nn.init.zeros_(unit.get_submodule(f"bn{unit.length}").weight)


def dirac(run: loop._Run) -> None:
    """The first outputs of each 3x3 convolution begin as its inputs, the others as they were (airbench94)."""
    for layer in _all(run, nn.Conv2d):
        if layer.kernel_size == (3, 3):
            nn.init.dirac_(layer.weight.detach()[: layer.in_channels])


def whitened(run: loop._Run) -> None:
    """The first convolution begins as the main components of its patches of 5,000 images, each with either sign.

    airbench94 has a frozen 2x2 one, scaled by the eigenvalues too; here batch norm follows, which scales by itself.
    """
    first = next(layer for layer in run.net.modules() if isinstance(layer, nn.Conv2d))
    weight = first.weight.detach()
    some = torch.arange(min(WHITENING_IMAGES, len(run.pixels)))
    pixels = run.augmenter.batch(some, 0, run.recipe.phases[0].resolution, torch.Generator().manual_seed(0))
    patches = F.unfold(pixels.float(), first.kernel_size).transpose(1, 2).reshape(-1, weight[0].numel())
    components = torch.linalg.eigh(patches.T.cov()).eigenvectors.flip(1).T  # rows, the main one first
    filters = components[: len(weight) // 2].reshape(-1, *weight.shape[1:])  # at most 27: outputs beyond 54 stay
    weight[: 2 * len(filters)] = weight.flatten(1).norm(dim=1).mean() * torch.cat([filters, -filters])


def fast_shifts(run: loop._Run) -> None:
    """Shifts of batch norms learn at SHIFTS times the rate (airbench94, bias_scaler)."""
    shifts = [layer.bias for layer in _all(run, nn.BatchNorm2d)]
    own = {id(shift) for shift in shifts}
    for group in run.optimizer.param_groups:
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in own]
    settings = run.recipe.optimizer
    faster = torch.optim.SGD(shifts, lr=SHIFTS * settings.learning_rate, momentum=settings.momentum,
                             nesterov=settings.nesterov, fused=True)
    _optimize(run, Together([run.optimizer, faster]))


def lookahead(run: loop._Run) -> None:
    """Every five steps the net goes back to its average, ever further until the end (airbench94, LookaheadState)."""

    def update(averages: Any, current: Any, updates: Any) -> None:
        step = int(updates) + 1
        if step % LOOKAHEAD_STEPS == 0 and averages[0].is_floating_point():
            kept = 0.95**LOOKAHEAD_STEPS * (step / run.total_steps) ** 3
            torch._foreach_lerp_(averages, current, 1 - kept)
            torch._foreach_copy_(current, averages)
    with torch.no_grad():
        run.average = AveragedModel(run.net, multi_avg_fn=update, use_buffers=True)


def shifts_and_lookahead(run: loop._Run) -> None:
    """Both of them."""
    fast_shifts(run)
    lookahead(run)


class _Filtered(nn.Module):
    """A net and the smaller one that picks images for it; called it is the net."""

    def __init__(self, net: nn.Module, proxy: nn.Module) -> None:
        super().__init__()
        self.net, self.proxy = net, proxy

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> logits (N, classes)."""
        logits: torch.Tensor = self.net(images)
        return logits


def proxy_filter(run: loop._Run) -> None:
    """A net of half the width and a unit a stage picks the harder half of each batch (airbench96_faster).

    Its own loss is over that half, too, in one step of PROXY_STEPS; in the others it only picks.
    """
    assert isinstance(run.net, ResNet)
    spec = run.net.spec
    small = replace(spec, blocks=(1,) * len(spec.blocks), widths=tuple(width // 2 for width in spec.widths))
    pair = _Filtered(run.net, build(small).to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    run.net = run.trained = pair
    _optimize(run, optimizer_of(pair, run.recipe))

    def loss(batch: Batch) -> torch.Tensor:
        trains, smoothing = run.state.step % PROXY_STEPS == 0, run.recipe.label_smoothing
        labels = run.labels[batch.sources]
        with run._autocast():
            with torch.set_grad_enabled(trains):
                guesses = pair.proxy(batch.images).float()
                losses = F.cross_entropy(guesses, labels, label_smoothing=smoothing, reduction="none")
            hard = losses.detach().topk(len(losses) // 2).indices
            own = F.cross_entropy(pair.net(batch.images[hard]).float(), labels[hard], label_smoothing=smoothing)
        return own + losses[hard].mean() if trains else own
    run._loss = loss  # type: ignore[method-assign]


class _Growing(Augmenter):
    """Translates by 0 pixels in the first quarter of all epochs, by half of what the recipe says in the second."""

    def __init__(self, run: loop._Run) -> None:
        super().__init__(run.pixels, run.recipe.augmentation, run.recipe.seed, run.validation.preprocessing)
        self._whole, self._epochs = self._recipe, run.recipe.epochs

    def mixed(self, indices: torch.Tensor, epoch: int, resolution: int, generator: torch.Generator,
              rows: torch.Tensor | None = None) -> Batch:
        """As the recipe says but for the translation."""
        halves = min(2, 4 * epoch // self._epochs)
        self._recipe = self._whole.model_copy(update={"translate": self._whole.translate * halves // 2})
        return super().mixed(indices, epoch, resolution, generator, rows)


def growing_translation(run: loop._Run) -> None:
    """Little translation early."""
    run.augmenter = _Growing(run)


def _all(run: loop._Run, kind: type) -> list[Any]:
    return [module for module in run.net.modules() if isinstance(module, kind)]


def _optimize(run: loop._Run, optimizer: torch.optim.Optimizer) -> None:
    run.optimizer, run.peaks = optimizer, [float(group["lr"]) for group in optimizer.param_groups]
