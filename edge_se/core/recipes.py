"""Training recipes: TOML, validated here once; what this file accepts is all that exists."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StrictInt

from edge_se.core.errors import RecipeError
from edge_se.core.toml_files import Table, read_toml


class Phase(Table):
    """Epochs trained at one resolution; progressive resizing is several phases of growing resolution."""

    epochs: StrictInt = Field(gt=0)
    resolution: StrictInt = Field(default=32, ge=8, le=224)


class Optimizer(Table):
    """SGD. `learning_rate` is the peak; norm weights and biases are not decayed unless asked."""

    learning_rate: float = Field(gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(default=5e-4, ge=0)
    decay_norm_and_bias: bool = False


class Schedule(Table):
    """Linear warm-up from `warmup_start` x peak over a fraction of all steps, then decay to `final` x peak."""

    decay: Literal["linear", "cosine", "constant"] = "linear"
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    warmup_start: float = Field(default=0.2, ge=0, le=1)
    final: float = Field(default=0.0, ge=0, le=1)


class Augmentation(Table):
    """Random translation by up to `translate` pixels (reflected), flip, and a `cutout` x `cutout` hole.

    `alternating` takes a random side per image once and flips it every epoch (airbench, arXiv 2404.00498).
    """

    translate: StrictInt = Field(default=4, ge=0, le=16)
    flip: Literal["none", "random", "alternating"] = "alternating"
    cutout: StrictInt = Field(default=0, ge=0, le=32)


class Recipe(Table):
    """How a net is trained."""

    batch_size: StrictInt = Field(default=128, gt=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    amp: Literal["auto", "bf16", "off"] = "auto"
    seed: StrictInt = Field(default=0, ge=0)
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    optimizer: Optimizer
    schedule: Schedule = Schedule()
    augmentation: Augmentation = Augmentation()

    @property
    def epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Resolution in pixels of each epoch."""
        return tuple(phase.resolution for phase in self.phases for _ in range(phase.epochs))

    @property
    def sha256(self) -> str:
        """Hash of the validated content: comments and key order do not count."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def shortened(self, epochs: int) -> Recipe:
        """The same recipe for `epochs` in all, phases in proportion (each that keeps a share keeps at least one)."""
        if epochs < 1:
            raise RecipeError(f"{epochs} epochs train nothing", where="--epochs", fix="give 1 or more")
        if epochs >= self.epochs:
            last = self.phases[-1]
            grown = last.model_copy(update={"epochs": last.epochs + epochs - self.epochs})
            return self.model_copy(update={"phases": (*self.phases[:-1], grown)})
        phases, left, total = [], epochs, self.epochs
        for phase in reversed(self.phases):  # the native resolution comes last and is served first
            share = min(left, max(1, round(epochs * phase.epochs / total)))
            if share:
                phases.append(phase.model_copy(update={"epochs": share}))
                left -= share
        if left:
            phases[0] = phases[0].model_copy(update={"epochs": phases[0].epochs + left})
        return self.model_copy(update={"phases": tuple(reversed(phases))})


def read_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file; raises RecipeError naming the key and the fix."""
    try:
        return read_toml(Recipe, path, RecipeError)
    except FileNotFoundError as missing:
        raise RecipeError("no such recipe", where=path, fix="give a TOML file with --recipe") from missing
