"""The training loop: resident data, batched augmentation, one or several processes; resumes bit-exactly on the CPU."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel

from edge_se.core.errors import TrainingError
from edge_se.core.recipes import Recipe
from edge_se.data.augment import Augmenter, Batch, resize
from edge_se.data.contents import TRAIN, VALIDATION
from edge_se.data.dataset import HELD_OUT
from edge_se.data.images import Images
from edge_se.data.training_pixels import training_pixels
from edge_se.nets.spec import ModelSpec
from edge_se.nets.zoo import build
from edge_se.training.averaging import MovingAverage
from edge_se.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edge_se.training.compiling import compiled
from edge_se.training.distributed import ALONE, Group, shared
from edge_se.training.gpu import in_parts, searched_convolutions
from edge_se.training.interrupts import Interrupts
from edge_se.training.logs import write_log
from edge_se.training.losses import Losses
from edge_se.training.optimizers import optimizer_of
from edge_se.training.precision import AMP_NAMES, amp_type, device_name
from edge_se.training.schedule import learning_rate_factor

CHECKPOINT = "checkpoint.pt"
CHECKPOINT_SECONDS = 120.0
CHECKPOINT_SHARE = 0.05  # of a run's time that checkpoints after epochs may take: on a GPU an epoch takes a second
EVALUATION_BATCH = 250


class Watcher(Protocol):
    """Hears of the progress: the command line shows it, tests ignore it."""

    def step(self, epoch: int, step: int, steps_per_epoch: int, loss: float) -> None:
        """After step `step` (from 1) of epoch `epoch` (from 0); on a GPU several steps are told at once."""
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
    amp: str = "off"
    compiled: bool = False
    device: str = "cpu"


def train(spec: ModelSpec, recipe: Recipe, images: Images, validation: Images, *, folder: Path,
          device: torch.device, resume: bool, watcher: Watcher, group: Group = ALONE) -> TrainedNet:
    """Trains `spec` on `images` by `recipe`, choosing the checkpoint on `validation`.

    Checkpoints go to `folder`/checkpoint.pt, every two minutes and after epochs, as far as these take a twentieth of
    the time at most; each epoch goes to log.csv beside it. In a `group` the first process writes. Raises TrainingError
    when the loss stops being finite or a checkpoint does not belong to this run.
    """
    if images.split != TRAIN or validation.split not in (VALIDATION, HELD_OUT):
        raise TrainingError(f"trains on 'train' and chooses on 'validation', not on '{images.split}' and "
                            f"'{validation.split}'", where="train", fix="give images of these splits")
    run = _Run(spec, recipe, images, validation, folder, device, group)
    if resume:
        run.restore()
    run.to_the_end(watcher)
    assert run.state.best_model is not None  # the last phase always ends with an evaluated epoch
    return TrainedNet(state=run.state.best_model, best_epoch=run.state.best_epoch, history=run.state.history,
                      seconds=run.state.seconds, amp=AMP_NAMES[run.amp], compiled=run.compiled,
                      device=device_name(device))


class _Run:
    """One training run; `state` holds all that a checkpoint needs."""

    def __init__(self, spec: ModelSpec, recipe: Recipe, images: Images, validation: Images, folder: Path,
                 device: torch.device, group: Group) -> None:
        if images.labels is None or validation.labels is None:
            raise TrainingError("training needs labelled images", where=images.name,
                                fix="give images with a class each")
        self.recipe, self.folder, self.device, self.group = recipe, folder, device, group
        self.rows = group.rows(recipe.batch_size)
        self.losses = Losses(group, device, folder)
        self._consistent = True  # whether the net is where `state` says
        self._order_of: int | None = None  # the epoch of `_permutation`
        self._saved, self._save_seconds = time.monotonic(), 0.0
        self.amp = amp_type(recipe, device)
        self.labels = torch.from_numpy(images.labels.astype(np.int64)).to(device)
        self.pixels = training_pixels(images, device)
        self.augmenter = Augmenter(self.pixels, recipe.augmentation, recipe.seed, images.preprocessing)
        self.validation = validation
        self.steps_per_epoch = len(images) // recipe.batch_size
        self.total_steps = self.steps_per_epoch * recipe.epochs
        if not self.steps_per_epoch:
            raise TrainingError(f"batch_size {recipe.batch_size} exceeds the {len(images)} images", where=images.name,
                                fix="add images, or give a recipe with a smaller batch_size (docs/training.md)")
        self._make_net(spec)
        self.state = Checkpoint(
            model_name=spec.name, recipe_sha256=recipe.sha256, data_sha256=images.sha256, epoch=0, step=0, seconds=0.0,
            loss_sum=0.0, model=self.net.state_dict(), optimizer=self.optimizer.state_dict())

    def _make_net(self, spec: ModelSpec) -> None:
        torch.manual_seed(self.recipe.seed)
        layout = torch.channels_last if self.recipe.channels_last else torch.contiguous_format
        self.net = build(spec).to(self.device, memory_format=layout)  # type: ignore[call-overload]
        self.average: AveragedModel | None = MovingAverage(self.net, self.recipe.ema) if self.recipe.ema else None
        self.optimizer = optimizer_of(self.net, self.recipe)
        self.peaks = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp == torch.float16)
        eager = shared(self.net, self.group, self.device)
        self.trained = compiled(eager, self.recipe)  # what a step calls; its parameters are those of `net`
        self.compiled = self.trained is not eager

    def restore(self) -> None:
        """Goes on from the checkpoint, if there is one."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        own = self.state
        self.state = load_checkpoint(path, model_name=own.model_name, recipe_sha256=own.recipe_sha256,
                                     data_sha256=own.data_sha256)
        self.net.load_state_dict(self.state.model)
        self.optimizer.load_state_dict(self.state.optimizer)
        if self.average is not None and self.state.average is not None:
            self.average.load_state_dict(self.state.average)
        if self.state.scaler:
            self.scaler.load_state_dict(self.state.scaler)

    def to_the_end(self, watcher: Watcher) -> None:
        """All remaining steps; Ctrl-C and SIGTERM stop after the step at hand and lose nothing."""
        interrupts = Interrupts(alone=self.group.size == 1)
        try:
            with interrupts.deferred(), searched_convolutions(self.device, self.recipe):
                self._steps(watcher, interrupts)
        except KeyboardInterrupt:
            # Where the net is half a step ahead of `state`, or the others will not join a read, the last one serves.
            if self._consistent and (self.group.size == 1 or not self.losses.waiting):
                if self.losses.waiting:
                    self.losses.read(self.state, self.state.step, interrupts)
                self._save()
            raise

    def _steps(self, watcher: Watcher, interrupts: Interrupts) -> None:
        started, before = time.monotonic(), self.state.seconds
        while self.state.epoch < self.recipe.epochs:
            if self.state.step < self.steps_per_epoch:  # else interrupted before the epoch's end was dealt with
                self._one_step(watcher, interrupts)
            self.state.seconds = before + time.monotonic() - started
            interrupts.check()
            if self.state.step == self.steps_per_epoch:
                self._end_of_epoch(watcher, interrupts)
                wait = min(CHECKPOINT_SECONDS, self._save_seconds / CHECKPOINT_SHARE)
                due = self.state.epoch == self.recipe.epochs or time.monotonic() - self._saved >= wait
            else:  # what is saved has a finite loss
                due = not self.losses.waiting and time.monotonic() - self._saved >= CHECKPOINT_SECONDS
            if due:
                self._save()
                interrupts.check()

    def _one_step(self, watcher: Watcher, interrupts: Interrupts) -> None:
        state, size = self.state, self.recipe.batch_size
        generator = torch.Generator().manual_seed(_seed(self.recipe.seed, state.epoch, state.step))
        # For dropout and similar layers: each process must draw other numbers.
        torch.manual_seed(_seed(self.recipe.seed, state.epoch, state.step, 1 + self.group.rank))
        indices = self._order(state.epoch)[state.step * size : (state.step + 1) * size]
        batch = self.augmenter.mixed(indices, state.epoch, self.recipe.resolutions[state.epoch], generator, self.rows)
        self._expect_next()
        self._set_learning_rate(state.epoch * self.steps_per_epoch + state.step)
        self.net.train()
        self._consistent = False  # from here on batch norms and weights change
        loss = self._loss(batch)
        read = self.losses.add(loss, state, interrupts, last=state.step + 1 == self.steps_per_epoch)
        self._update(loss)
        state.step += 1
        self._consistent = True
        for number, value in enumerate(read, state.step + 1 - len(read)):
            watcher.step(state.epoch, number, self.steps_per_epoch, value)

    def _expect_next(self) -> None:
        """Has the images of the epoch's next step made ready beside this one, where they are decoded for each step."""
        state, size = self.state, self.recipe.batch_size
        if state.step + 1 < self.steps_per_epoch and not self.recipe.augmentation.mixup and self.rows is None:
            self.pixels.expect(self._order(state.epoch)[(state.step + 1) * size : (state.step + 2) * size])

    def _loss(self, batch: Batch) -> torch.Tensor:
        with self._autocast():
            logits = self.trained(batch.images).float()
            smoothing = self.recipe.label_smoothing
            loss = F.cross_entropy(logits, self.labels[batch.sources], label_smoothing=smoothing)
            if batch.partners is None:
                return loss
            other = F.cross_entropy(logits, self.labels[batch.partners], label_smoothing=smoothing)
            return batch.share * loss + (1 - batch.share) * other

    def _update(self, loss: torch.Tensor) -> None:
        self.net.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self.recipe.optimizer.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.optimizer.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update_parameters(self.net)

    def _end_of_epoch(self, watcher: Watcher, interrupts: Interrupts) -> None:
        state, resolution = self.state, self.recipe.resolutions[self.state.epoch]
        top1 = self._validate(resolution, interrupts)
        row = {"epoch": state.epoch + 1, "resolution": resolution, "loss": state.loss_sum / self.steps_per_epoch,
               "validation_top1": top1, "learning_rate": self.optimizer.param_groups[0]["lr"],
               "seconds": state.seconds}
        self._consistent = False
        state.history.append(row)
        if resolution == self.recipe.resolutions[-1] and top1 > state.best_top1:
            state.best_top1, state.best_epoch = top1, state.epoch + 1
            state.best_model = {name: tensor.detach().cpu().clone()
                                for name, tensor in self._judged.state_dict().items()}
        state.epoch, state.step, state.loss_sum = state.epoch + 1, 0, 0.0
        self._consistent = True
        if self.group.first:
            write_log(self.folder, state.history)
        watcher.epoch(row)

    @property
    def _judged(self) -> nn.Module:
        """What is validated and kept: the average where there is one."""
        return self.net if self.average is None else self.average.module

    @torch.no_grad()
    def _validate(self, resolution: int, interrupts: Interrupts) -> float:
        """Top-1 in percent on the validation images at the phase's resolution; processes share the batches.

        An interrupt ends it after the batch at hand: a resumed run validates again.
        """
        net = self._judged.eval()
        right, labels = 0, self.validation.labels
        assert labels is not None
        for number, batch in enumerate(self.validation.batches(EVALUATION_BATCH)):
            interrupts.check()
            if number % self.group.size != self.group.rank:
                continue
            with self._autocast():
                logits = in_parts(net, resize(torch.from_numpy(batch).to(self.device), resolution))
            start = number * EVALUATION_BATCH
            right += int((logits.argmax(1).cpu().numpy() == labels[start : start + len(batch)]).sum())
        return 100.0 * self.group.sums((right,), self.device)[0] / len(self.validation)

    def _order(self, epoch: int) -> torch.Tensor:
        if self._order_of != epoch:
            generator = torch.Generator().manual_seed(_seed(self.recipe.seed, epoch))
            self._permutation = torch.randperm(len(self.labels), generator=generator).to(self.device)
            self._order_of = epoch
        return self._permutation

    def _set_learning_rate(self, step: int) -> None:
        factor = learning_rate_factor(self.recipe.schedule, step, self.total_steps)
        for group, peak in zip(self.optimizer.param_groups, self.peaks):
            group["lr"] = peak * factor

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, self.amp, enabled=self.amp is not None)

    def _save(self) -> None:
        if not self.group.first:
            return
        started = time.monotonic()
        self.state.model, self.state.optimizer = self.net.state_dict(), self.optimizer.state_dict()
        self.state.average = None if self.average is None else self.average.state_dict()
        self.state.scaler = self.scaler.state_dict() or None
        save_checkpoint(self.folder / CHECKPOINT, self.state)
        self._saved = time.monotonic()
        self._save_seconds = self._saved - started


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
