"""What does each part of a recipe bring at equal time? python bench/recipe_trials.py --seconds 100   (call it again)

`mini` is trained on the first `--images` training images at 16 px, by a base recipe and by the same with one change. A
change that alters the time of an epoch by much alters their number, so that all take about as long; processor seconds
stand beside. A training of 9,000 images, 560 steps, favours what starts fast: it says what is worth a longer trial.

Runs go on where they were stopped; each call works for `--seconds`. Runs and their checkpoints are kept in `--folder`.
Writes bench/results/recipe_trials.json, or --out, with all that have ended.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench.training_runs import advance, ended
from edge_se.core import environment
from edge_se.core.files import write_json
from edge_se.core.recipes import Recipe
from edge_se.data import cifar10, splits
from edge_se.nets.zoo import spec_of

RESULT = Path(__file__).parent / "results" / "recipe_trials.json"
MODEL = "mini"
BASE: dict[str, Any] = {
    "batch_size": 128, "label_smoothing": 0.1, "phases": [{"epochs": 8, "resolution": 16}],
    "optimizer": {"learning_rate": 0.1, "weight_decay": 5e-4},
    "schedule": {"decay": "linear", "warmup_fraction": 0.2},
    "augmentation": {"translate": 2, "flip": "random"}}
TRIALS: dict[str, dict[str, Any]] = {
    "base": {},
    "alternating flip": {"augmentation": {"translate": 2, "flip": "alternating"}},
    "12 px first": {"phases": [{"epochs": 7, "resolution": 12}, {"epochs": 4, "resolution": 16}]},  # as 24 is to 32
    "Muon, 0.02": {"optimizer": BASE["optimizer"] | {"muon": {"learning_rate": 0.02, "weight_decay": 0.1}}},
    "Muon, 0.06": {"optimizer": BASE["optimizer"] | {"muon": {"learning_rate": 0.06, "weight_decay": 0.03}}},
    "EMA 0.98": {"ema": 0.98},
    "no label smoothing": {"label_smoothing": 0.0},
    "label smoothing 0.2": {"label_smoothing": 0.2}}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of this call")
    parser.add_argument("--trials", nargs="*", default=list(TRIALS), choices=TRIALS)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1])
    parser.add_argument("--images", type=int, default=9_000)
    parser.add_argument("--folder", type=Path, default=Path("build/recipe_trials"))
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    ends = time.monotonic() + options.seconds
    cifar = cifar10.require()
    images, validation = splits.load("train", cifar).first(options.images), splits.load("validation", cifar)
    for seed in options.seeds:  # all trials once before any twice
        for name in options.trials:
            left, folder = ends - time.monotonic(), folder_of(options.folder, name, seed)
            if left > 0 and ended(folder, recipe_of(name, seed), images) is None:
                print(f"{name}, seed {seed}", flush=True)
                advance(spec_of(MODEL), recipe_of(name, seed), images, validation, folder, left)
    runs = [{"trial": name, "seed": seed} | run for name in TRIALS for seed in options.seeds
            if (run := ended(folder_of(options.folder, name, seed), recipe_of(name, seed), images))]
    write_json(options.out, {
        "schema": "edge-se/recipe-trials/1", "model": MODEL, "images": options.images, "validation": len(validation),
        "runs": runs, "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                                      "threads": torch.get_num_threads(), "commit": environment.commit()}})
    print(f"{len(runs)} of {len(options.trials) * len(options.seeds)} runs have ended; written to {options.out}")


def recipe_of(name: str, seed: int) -> Recipe:
    """The base recipe with the change of a trial."""
    return Recipe.model_validate(BASE | TRIALS[name]).seeded(seed)


def folder_of(root: Path, name: str, seed: int) -> Path:
    """Where a run is kept."""
    return root / f"{name.replace(' ', '-')}-s{seed}"


if __name__ == "__main__":
    main()
