"""What does a training step consist of, and what would make it faster? python bench/training_parts.py   (five minutes)

`resnet18` at batch 128 in BF16, on the threads of the process. torch's profiler tells the share of each kind of
operation; beside the rate of the convolutions stands that of a matrix product of the same type, which bounds them. Then
steps of other settings, interleaved with those of the base, in processor seconds of 128 images, so that other programs
disturb little. A setting marked as a bound leaves out what could be saved, and trains nothing of use.
Writes bench/results/training_parts.json.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from bench.training_speed import engine_step
from edge_se.core import environment
from edge_se.core.files import write_json
from edge_se.core.recipes import Recipe
from edge_se.data import cifar10, splits
from edge_se.nets.zoo import spec_of
from edge_se.training import loop
from edge_se.training.distributed import ALONE

RESULT = Path(__file__).parent / "results" / "training_parts.json"
BATCH, RESOLUTION = 128, 32
SIDE = 2048  # of the square matrices
BASE = "BF16, batch 128"
SETTINGS: dict[str, dict[str, Any]] = {
    BASE: {},
    "batch 256": {"batch_size": 256},
    "contiguous instead of channels_last": {"channels_last": False},
    "FP32": {"amp": "off"},
    "24 px": {"phases": [{"epochs": 1, "resolution": 24}]},
    "Muon, 3 iterations": {"optimizer": {"learning_rate": 0.01, "muon": {"learning_rate": 0.01, "steps": 3}}},
    "compiled": {"compile": True}}
RELUS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {  # beside `SETTINGS`, of the base recipe
    "ReLU in place": torch.relu_, "bound: no ReLU": lambda values: values}
HELD = "bound: weights in BF16, never updated"
NAMES = (*SETTINGS, *RELUS, HELD)
KINDS = {  # of operations, by what their names contain; the first that fits
    "convolutions, backward": ("convolution_backward",), "convolutions, forward": ("convolution",),
    "batch norm": ("batch_norm",), "ReLU": ("clamp_min", "threshold_backward", "relu"),
    "optimiser": ("_fused_sgd_",), "copies and casts": ("copy_", "clone")}
Step = Callable[[], object]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=NAMES)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    cifar = cifar10.require()
    images, validation = splits.load("train", cifar), splits.load("validation", cifar)
    with tempfile.TemporaryDirectory() as folder:
        steps = {}
        for name in dict.fromkeys([BASE, *options.settings]):
            recipe = recipe_of(name)
            run = loop._Run(spec_of(options.model), recipe, images, validation, Path(folder), torch.device("cpu"),
                            ALONE)
            steps[name] = (step_of(name, run), recipe.batch_size)
        seconds = interleaved(steps, options.rounds)
        base = statistics.median(seconds[BASE])
        found = parts(steps[BASE][0], base)
    write_json(options.out, {
        "schema": "edge-se/training-parts/1", "model": options.model, "batch": BATCH, "type": "bf16",
        "product_gflop_per_s": product_rate(), **found,
        "settings": [{"setting": name, "seconds_of_128": values, "images_per_s": BATCH / statistics.median(values),
                      "times_base": base / statistics.median(values)} for name, values in seconds.items()],
        "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                        "threads": torch.get_num_threads(), "commit": environment.commit()}})
    print(f"written to {options.out}")


def recipe_of(name: str) -> Recipe:
    """That of the base, with the change of a setting."""
    return Recipe.model_validate({"batch_size": BATCH, "amp": "bf16", "optimizer": {"learning_rate": 0.01},
                                  "phases": [{"epochs": 1, "resolution": RESOLUTION}]} | SETTINGS.get(name, {}))


def step_of(name: str, run: loop._Run) -> Step:
    """A step of the engine under a setting."""
    step = engine_step(run)
    if name == HELD:
        for module in run.net.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.bfloat16()
        run.optimizer.step = lambda: None  # type: ignore[assignment, method-assign]
    if name not in RELUS:
        return step

    def changed() -> None:
        with mock.patch.object(torch, "relu", RELUS[name]):
            step()
    return changed


def interleaved(steps: dict[str, tuple[Step, int]], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of 128 images for each setting, one figure a round, after a step that is not timed."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, (step, batch) in steps.items():
            before = time.process_time()
            step()
            if number:
                seconds[name].append((time.process_time() - before) * BATCH / batch)
        print(f"  round {number} of {rounds}", flush=True)
    return seconds


def parts(step: Step, seconds: float) -> dict[str, Any]:
    """Shares of a step's time by kind, and the rate of its convolutions where a step takes so many processor seconds.

    The profiler's own times are of the clock, and longer where other programs run: only their ratios are told.
    """
    with FlopCounterMode(display=False) as counter:
        step()
    flop = sum(count for operation, count in counter.get_flop_counts()["Global"].items()
               if "convolution" in str(operation))
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    own = {event.key: float(event.self_cpu_time_total) for event in profiler.key_averages()}
    whole, by_kind = sum(own.values()), dict.fromkeys([*KINDS, "other"], 0.0)
    for name, microseconds in own.items():
        by_kind[kind_of(name)] += microseconds
    convolutions = (by_kind["convolutions, forward"] + by_kind["convolutions, backward"]) / whole
    return {"parts": [{"kind": kind, "share": value / whole} for kind, value in by_kind.items()],
            "convolution_gflop_per_s": flop / (convolutions * seconds) / 1e9,
            "times_base_without_the_rest": 1 / convolutions}


def kind_of(operation: str) -> str:
    """The kind of an operation by its name in the profiler."""
    return next((kind for kind, words in KINDS.items() if any(word in operation for word in words)), "other")


def product_rate() -> float:
    """GFLOP/s of square matrices in BF16, the best of five."""
    one, other = (torch.randn(SIDE, SIDE).bfloat16() for _ in range(2))
    best = float("inf")
    for _ in range(6):
        before = time.process_time()
        one @ other
        best = min(best, time.process_time() - before)
    return 2 * SIDE**3 / best / 1e9


if __name__ == "__main__":
    main()
