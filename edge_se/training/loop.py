"""The training loop: resident data, batched augmentation, SGD; resumes bit-exactly on the CPU."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from edge_se.core import environment
from edge_se.core.errors import TrainingError, UnavailableError
from edge_se.core.recipes import Recipe
from edge_se.data.augment import Augmenter, resize
from edge_se.data.splits import ImageSet
from edge_se.nets.zoo import ModelSpec, build
from edge_se.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edge_se.training.interrupts import Interrupts
from edge_se.training.schedule import learning_rate_factor

CHECKPOINT_SECONDS = 120.0
EVALUATION_BATCH = 250


class Watcher(Protocol):
    """What is told of the progress; the command line shows it, tests ignore it."""

    def step(self, epoch: int, step: int, steps_per_epoch: int, loss: float) -> None:
        """After step `step` (from 1) of epoch `epoch` (from 0)."""
        ...

    def epoch(self, row: dict[str, float]) -> None:
        """After an epoch, with its line of the log."""
        ...


class Silent:
    """A watcher that shows nothing."""

    def step(self, epoch: int, step: int, steps_per_epoch: int, loss: float) -> None:
        """Ignored."""

    def epoch(self, row: dict[str, float]) -> None:
        """Ignored."""


@dataclass(frozen=True, kw_only=True)
class TrainedNet:
    """The chosen state (best validation top-1 among epochs at native resolution) and how it came about."""

    state: dict[str, torch.Tensor]
    best_epoch: int
    history: list[dict[str, float]]
    seconds: float
    amp: bool
    device: str = field(default="cpu")


def pick_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda` to a device; UnavailableError when CUDA was asked for and is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UnavailableError("torch sees no CUDA GPU", where="--device cuda", fix="use --device cpu")
    return torch.device(name)


def use_bf16(recipe: Recipe, device: torch.device) -> bool:
    """Whether to autocast to bfloat16: asked for, or `auto` where the hardware multiplies it at full speed."""
    if recipe.amp == "auto":
        return torch.cuda.is_bf16_supported() if device.type == "cuda" else environment.has_fast_bf16()
    return recipe.amp == "bf16"


def train(spec: ModelSpec, recipe: Recipe, images: ImageSet, validation: ImageSet, *, folder: Path,
          device: torch.device, resume: bool, watcher: Watcher) -> TrainedNet:
    """Trains `spec` on `images` by `recipe`, choosing the checkpoint on `validation`.

    Checkpoints go to `folder`/checkpoint.pt, every two minutes and after every epoch. Raises TrainingError when
    the loss stops being finite or a checkpoint does not belong to this run.
    """
    if images.split != "train" or validation.split != "validation":
        raise TrainingError(f"trains on 'train' and chooses on 'validation', not on '{images.split}' and "
                            f"'{validation.split}'", where="train")
    run = _Run(spec, recipe, images, validation, folder / "checkpoint.pt", device)
    if resume:
        run.restore()
    run.to_the_end(watcher)
    assert run.state.best_model is not None  # the last phase always ends with an evaluated epoch
    return TrainedNet(state=run.state.best_model, best_epoch=run.state.best_epoch, history=run.state.history,
                      seconds=run.state.seconds, amp=run.bf16, device=_device_name(device))


class _Run:
    """One training run; `state` holds all that a checkpoint needs."""

    def __init__(self, spec: ModelSpec, recipe: Recipe, images: ImageSet, validation: ImageSet, path: Path,
                 device: torch.device) -> None:
        if images.labels is None or validation.labels is None:
            raise TrainingError("training needs labelled images", where=images.name)
        self.recipe, self.path, self.device = recipe, path, device
        self._consistent = True  # whether the net is where `state` says
        self.bf16 = use_bf16(recipe, device)
        torch.manual_seed(recipe.seed)
        self.net = build(spec).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = _optimizer(self.net, recipe)
        self.labels = torch.from_numpy(images.labels.astype(np.int64)).to(device)
        self.augmenter = Augmenter(torch.from_numpy(images.pixels).to(device), recipe.augmentation, recipe.seed)
        self.validation = validation
        self.steps_per_epoch = len(images) // recipe.batch_size
        self.total_steps = self.steps_per_epoch * recipe.epochs
        if not self.steps_per_epoch:
            raise TrainingError(f"batch_size {recipe.batch_size} exceeds the {len(images)} images", where=images.name)
        self.state = Checkpoint(
            model_name=spec.name, recipe_sha256=recipe.sha256, data_sha256=images.sha256, epoch=0, step=0, seconds=0.0,
            loss_sum=0.0, model=self.net.state_dict(), optimizer=self.optimizer.state_dict())

    def restore(self) -> None:
        """Goes on from the checkpoint, if there is one."""
        if not self.path.exists():
            return
        own = self.state
        self.state = load_checkpoint(self.path, model_name=own.model_name, recipe_sha256=own.recipe_sha256,
                                     data_sha256=own.data_sha256)
        self.net.load_state_dict(self.state.model)
        self.optimizer.load_state_dict(self.state.optimizer)

    def to_the_end(self, watcher: Watcher) -> None:
        """All remaining steps; Ctrl-C and SIGTERM stop after the step at hand and lose nothing."""
        interrupts = Interrupts()
        try:
            with interrupts.deferred():
                self._steps(watcher, interrupts)
        except KeyboardInterrupt:
            if self._consistent:  # else the net is half a step ahead of `state`: the last checkpoint serves
                self._save()
            raise

    def _steps(self, watcher: Watcher, interrupts: Interrupts) -> None:
        started, before, saved = time.monotonic(), self.state.seconds, time.monotonic()
        while self.state.epoch < self.recipe.epochs:
            if self.state.step < self.steps_per_epoch:  # else interrupted before the epoch's end was dealt with
                self._one_step(watcher)
            self.state.seconds = before + time.monotonic() - started
            interrupts.check()
            if self.state.step == self.steps_per_epoch:
                self._end_of_epoch(watcher)
            elif time.monotonic() - saved < CHECKPOINT_SECONDS:
                continue
            self._save()
            saved = time.monotonic()
            interrupts.check()

    def _one_step(self, watcher: Watcher) -> None:
        state, size = self.state, self.recipe.batch_size
        generator = torch.Generator().manual_seed(_seed(self.recipe.seed, state.epoch, state.step))
        torch.manual_seed(_seed(self.recipe.seed, state.epoch, state.step, 1))  # for dropout and its like
        indices = self._order(state.epoch)[state.step * size : (state.step + 1) * size]
        images = self.augmenter.batch(indices, state.epoch, self.recipe.resolutions[state.epoch], generator)
        self._set_learning_rate(state.epoch * self.steps_per_epoch + state.step)
        self.net.train()
        self._consistent = False  # from here on batch norms and weights change
        with self._autocast():
            logits = self.net(images)
            loss = F.cross_entropy(logits.float(), self.labels[indices], label_smoothing=self.recipe.label_smoothing)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(f"the loss became {value} in epoch {state.epoch + 1}, step {state.step + 1}",
                                where=self.path.parent, fix="lower optimizer.learning_rate, or set amp = \"off\"")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        state.step, state.loss_sum = state.step + 1, state.loss_sum + value
        self._consistent = True
        watcher.step(state.epoch, state.step, self.steps_per_epoch, value)

    def _end_of_epoch(self, watcher: Watcher) -> None:
        state, resolution = self.state, self.recipe.resolutions[self.state.epoch]
        top1 = self._validate(resolution)
        row = {"epoch": state.epoch + 1, "resolution": resolution, "loss": state.loss_sum / self.steps_per_epoch,
               "validation_top1": top1, "learning_rate": self.optimizer.param_groups[0]["lr"],
               "seconds": state.seconds}
        self._consistent = False
        state.history.append(row)
        if resolution == self.recipe.resolutions[-1] and top1 > state.best_top1:
            state.best_top1, state.best_epoch = top1, state.epoch + 1
            state.best_model = {name: tensor.detach().cpu().clone() for name, tensor in self.net.state_dict().items()}
        state.epoch, state.step, state.loss_sum = state.epoch + 1, 0, 0.0
        self._consistent = True
        watcher.epoch(row)

    @torch.no_grad()
    def _validate(self, resolution: int) -> float:
        """Top-1 in percent on the validation images at the phase's resolution."""
        self.net.eval()
        right, start = 0, 0
        for batch in self.validation.batches(EVALUATION_BATCH):
            with self._autocast():
                logits = self.net(resize(torch.from_numpy(batch).to(self.device), resolution))
            predictions = logits.argmax(1).cpu().numpy()
            right += int((predictions == self.validation.labels[start : start + len(batch)]).sum())  # type: ignore[index]
            start += len(batch)
        return 100.0 * right / len(self.validation)

    def _order(self, epoch: int) -> torch.Tensor:
        if getattr(self, "_order_of", None) != epoch:
            generator = torch.Generator().manual_seed(_seed(self.recipe.seed, epoch))
            self._permutation = torch.randperm(len(self.labels), generator=generator).to(self.device)
            self._order_of = epoch
        return self._permutation

    def _set_learning_rate(self, step: int) -> None:
        factor = learning_rate_factor(self.recipe.schedule, step, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.optimizer.learning_rate * factor

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def _save(self) -> None:
        self.state.model, self.state.optimizer = self.net.state_dict(), self.optimizer.state_dict()
        save_checkpoint(self.path, self.state)


def _optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    settings = recipe.optimizer
    decayed = [p for p in net.parameters() if p.ndim > 1 or settings.decay_norm_and_bias]
    spared = [p for p in net.parameters() if p.ndim <= 1 and not settings.decay_norm_and_bias]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return torch.optim.SGD([group for group in groups if group["params"]], lr=settings.learning_rate,
                           momentum=settings.momentum, nesterov=settings.nesterov and settings.momentum > 0)


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
