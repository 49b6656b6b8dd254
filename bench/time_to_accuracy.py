"""Does a newer recipe get where an older one ends in less time? python bench/time_to_accuracy.py   (hours on two cores)

`--old` and `--new` train the same net with the same seeds on the same cores, in turns of `--turn` seconds, so that a
busy hour disturbs both. What the old recipe reaches on the validation images, the mean over its seeds, is the target. A
run of the new one gets there with its first epoch at the last resolution that is no worse. Stopped, it goes on where it
was; a call ends after `--seconds`. The test set is never read.
Writes bench/results/time_to_accuracy.json once every run has ended.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench.training_runs import advance, ended
from edge_se.core import environment
from edge_se.core.files import sha256_of, write_json
from edge_se.core.recipes import find_recipe, read_recipe
from edge_se.data import cifar10, splits
from edge_se.nets.zoo import spec_of

HERE = Path(__file__).parent
RESULT = HERE / "results" / "time_to_accuracy.json"
OLD = HERE / "recipes" / "progressive18.toml"  # that of the first bundled resnet18 and se_resnet18
CLOCKS = ("seconds", "processor_seconds")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="se_resnet18")
    parser.add_argument("--old", default=OLD, help="a TOML file or the name of a shipped recipe")
    parser.add_argument("--new", default="best-cpu", help="the same")
    parser.add_argument("--new-epochs", type=int, help="shortens the new recipe: it need not reach all that it can")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--turn", type=float, default=600, help="seconds of a run before the next has its turn")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of this call")
    parser.add_argument("--folder", type=Path, default=Path("runs/time_to_accuracy"))
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    spec, ends = spec_of(options.model), time.monotonic() + options.seconds
    files = {"old": find_recipe(options.old), "new": find_recipe(options.new)}
    recipes = {side: read_recipe(path) for side, path in files.items()}
    if options.new_epochs:
        recipes["new"] = recipes["new"].shortened(options.new_epochs)
    runs = {(side, seed): (recipes[side].seeded(seed), options.folder / f"{spec.name}-{side}-s{seed}")
            for seed in options.seeds for side in recipes}
    cifar = cifar10.require()
    images, validation = splits.load("train", cifar), splits.load("validation", cifar)
    while (left := [run for run, (recipe, folder) in runs.items() if ended(folder, recipe, images) is None]):
        for side, seed in left:
            if time.monotonic() >= ends:
                print(f"{len(left)} of {len(runs)} runs have not ended; call it again")
                return
            print(f"{side}, seed {seed}", flush=True)
            recipe, folder = runs[side, seed]
            advance(spec, recipe, images, validation, folder, min(options.turn, ends - time.monotonic()))
    documents = {run: ended(folder, recipe, images) for run, (recipe, folder) in runs.items()}
    write_json(options.out, {
        "schema": "edge-se/time-to-accuracy/1", "model": spec.name, "validation": len(validation),
        "recipes": {side: {"name": path.stem, "file_sha256": sha256_of(path), "epochs": recipes[side].epochs}
                    for side, path in files.items()},
        **verdict({side: [documents[side, seed] for seed in options.seeds] for side in recipes}),
        "runs": [{"side": side, "seed": seed} | (document or {}) for (side, seed), document in documents.items()],
        "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                        "threads": torch.get_num_threads(), "commit": environment.commit()}})
    print(f"written to {options.out}")


def verdict(runs: dict[str, list[Any]]) -> dict[str, Any]:
    """The target, what each seed took to it, and the ratio of the medians; no ratio where a new run did not get there.

    The old recipe's time is that of its whole: its schedule ends there, and nobody knows before how good it is.
    """
    target = statistics.mean(run["top1"] for run in runs["old"])
    result: dict[str, Any] = {"target": target, "top1": {side: [run["top1"] for run in own]
                                                          for side, own in runs.items()}}
    for clock in CLOCKS:
        old = [run["epochs"][-1][clock] for run in runs["old"]]
        new = [reached(run["epochs"], target, clock) for run in runs["new"]]
        there = [value for value in new if value is not None]
        result[clock] = {"old": old, "new": new, "ratio": statistics.median(there) / statistics.median(old)
                         if len(there) == len(new) else None}
    return result


def reached(epochs: list[dict[str, float]], target: float, clock: str) -> float | None:
    """Seconds to the end of the first epoch at the last resolution whose top-1 is at least `target`; None: never."""
    last = epochs[-1]["resolution"]
    return next((epoch[clock] for epoch in epochs
                 if epoch["resolution"] == last and epoch["validation_top1"] >= target), None)


if __name__ == "__main__":
    main()
