"""What does each part of a recipe bring at equal time? python bench/recipe_trials.py --seconds 100   (call it again)

`mini` is trained on the first `--images` training images at 16 px, by a base recipe (Nesterov SGD, or Muon for the
kernels of convolutions) and by the same with one change: of its keys, or of bench/run_changes.py. A change that alters
the time of an epoch by much alters their number, so that all take about as long; processor seconds stand beside. A
training of 9,000 images, 560 steps, favours what starts fast: it says what is worth a longer trial.

Runs go on where they were stopped; each call works for `--seconds`. Runs and their checkpoints are kept in `--folder`.
Writes bench/results/recipe_trials.json, recipe_trials-muon.json for that base, or --out, with all that have ended.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench import run_changes
from bench.run_changes import Change, changed
from bench.training_runs import advance, ended
from edge_se.core import environment
from edge_se.core.files import write_json
from edge_se.core.recipes import Recipe
from edge_se.data import cifar10, splits
from edge_se.nets.zoo import spec_of

RESULTS = Path(__file__).parent / "results"
MODEL = "mini"


@dataclass(frozen=True)
class Trial:
    """What differs from the base: keys of the recipe, and what no key says."""

    keys: dict[str, Any] = field(default_factory=dict)
    change: Change | None = None


SGD: dict[str, Any] = {
    "batch_size": 128, "label_smoothing": 0.1, "phases": [{"epochs": 8, "resolution": 16}],
    "optimizer": {"learning_rate": 0.1, "weight_decay": 5e-4},
    "schedule": {"decay": "linear", "warmup_fraction": 0.2},
    "augmentation": {"translate": 2, "flip": "random"}}


def _with_muon(learning_rate: float, weight_decay: float) -> dict[str, Any]:
    return {"optimizer": SGD["optimizer"] | {"muon": {"learning_rate": learning_rate, "weight_decay": weight_decay}}}


BASES = {"sgd": SGD, "muon": SGD | _with_muon(0.06, 0.03)}
TRIALS = {
    "sgd": {
        "base": Trial(),
        "alternating flip": Trial({"augmentation": {"translate": 2, "flip": "alternating"}}),
        "12 px first": Trial({"phases": [{"epochs": 7, "resolution": 12}, {"epochs": 4, "resolution": 16}]}),
        "Muon, 0.02": Trial(_with_muon(0.02, 0.1)),
        "Muon, 0.06": Trial(_with_muon(0.06, 0.03)),
        "EMA 0.98": Trial({"ema": 0.98}),
        "no label smoothing": Trial({"label_smoothing": 0.0}),
        "label smoothing 0.2": Trial({"label_smoothing": 0.2})},
    "muon": {
        "base": Trial(),
        "Muon, 0.1": Trial(_with_muon(0.1, 0.018)),  # the same product: updates of the same share of a kernel's norm
        "zero gamma": Trial(change=run_changes.zero_gamma),
        "Dirac": Trial(change=run_changes.dirac),
        "whitened": Trial(change=run_changes.whitened),
        "shifts of batch norms, 16 x": Trial(change=run_changes.fast_shifts),
        "lookahead": Trial(change=run_changes.lookahead),
        "proxy filtering": Trial({"batch_size": 256, "phases": [{"epochs": 13, "resolution": 16}]},
                                 run_changes.proxy_filter),
        "less translation early": Trial(change=run_changes.growing_translation),
        "Muon, 0.1, shifts, lookahead": Trial(_with_muon(0.1, 0.018), run_changes.shifts_and_lookahead)}}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of this call")
    parser.add_argument("--base", choices=BASES, default="sgd")
    parser.add_argument("--trials", nargs="*", help="all of the base by default")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1])
    parser.add_argument("--images", type=int, default=9_000)
    parser.add_argument("--folder", type=Path, default=Path("build/recipe_trials"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    base, trials, ends = options.base, TRIALS[options.base], time.monotonic() + options.seconds
    names = options.trials or list(trials)
    if unknown := set(names) - set(trials):
        parser.error(f"base {base} has no trial {', '.join(sorted(unknown))}; it has {', '.join(trials)}")
    out = options.out or RESULTS / ("recipe_trials.json" if base == "sgd" else f"recipe_trials-{base}.json")
    cifar = cifar10.require()
    images, validation = splits.load("train", cifar).first(options.images), splits.load("validation", cifar)
    for seed in options.seeds:  # all trials once before any twice
        for name in names:
            recipe, folder = recipe_of(base, name, seed), folder_of(options.folder, base, name, seed)
            left = ends - time.monotonic()
            if left > 0 and ended(folder, recipe, images) is None:
                print(f"{name}, seed {seed}", flush=True)
                with changed(trials[name].change):
                    advance(spec_of(MODEL), recipe, images, validation, folder, left)
    runs = [{"trial": name, "seed": seed} | run for name in trials for seed in options.seeds
            if (run := ended(folder_of(options.folder, base, name, seed), recipe_of(base, name, seed), images))]
    write_json(out, {
        "schema": "edge-se/recipe-trials/1", "model": MODEL, "base": base, "images": options.images,
        "validation": len(validation), "runs": runs,
        "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                        "threads": torch.get_num_threads(), "commit": environment.commit()}})
    print(f"{len(runs)} of {len(names) * len(options.seeds)} runs have ended; written to {out}")


def recipe_of(base: str, name: str, seed: int) -> Recipe:
    """The base recipe with the keys of a trial."""
    return Recipe.model_validate(BASES[base] | TRIALS[base][name].keys).seeded(seed)


def folder_of(root: Path, base: str, name: str, seed: int) -> Path:
    """Where a run is kept."""
    return root / base / f"{name.replace(' ', '-')}-s{seed}"


if __name__ == "__main__":
    main()
