"""Is the training engine faster than a plain loop? python bench/training_speed.py   (about 15 minutes on two cores)

Of each setting (`--settings`, a net and a type) the engine runs eager and, where torch.compile works, compiled. The
plain loop is that of the usual tutorials: torchvision's CIFAR10 (PIL images), crop, flip, normalise, a DataLoader of 0
or 2 workers, torch's SGD as it comes, the same net, batch and type. It runs in torch's default memory format and, to
tell what that is worth, in channels_last too, which the engine takes. All take turns, a slice of steps each; the first
steps of a slice are not timed, so that no loader gains by what it fetched while others ran. Beside them the engine's
input pipeline alone. How many steps a slice has follows from a first timing, so that the whole takes `--minutes`.
Writes bench/results/training_speed.json.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from edge_se.core import environment
from edge_se.core.files import write_json
from edge_se.core.recipes import Recipe
from edge_se.data import cifar10, splits
from edge_se.data.torchvision_import import torchvision
from edge_se.nets.zoo import build, spec_of
from edge_se.training import compiling, loop
from edge_se.training.distributed import ALONE
from edge_se.training.interrupts import Interrupts
from edge_se.training.precision import amp_type, device_name, pick_device

RESULT = Path(__file__).parent / "results" / "training_speed.json"
SETTINGS = "mini:bf16,resnet18_imagenet7:off,resnet18:bf16"
WARM_UP = 3  # steps of each slice that are not timed: of the batches that two workers hold ready, four, one is left
FEWEST_STEPS, FEWEST_ROUNDS = 2, 5  # rather than fewer it takes longer than asked
ENGINES = ("engine, eager", "engine, compiled")
PIPELINE = "input pipeline of the engine"
WORKERS, LAYOUTS = (0, 2), ("contiguous", "channels_last")
Step = Callable[[], object]


class Cifar10Images(torchvision.datasets.CIFAR10):  # type: ignore[misc]  # torchvision has no types
    """torchvision's data set over images that are at hand in another file format than its own."""

    def __init__(self, images: splits.ImageSet) -> None:
        assert images.labels is not None
        self.data, self.targets = images.pixels.transpose(0, 2, 3, 1), images.labels.tolist()
        self.target_transform = None
        kit = torchvision.transforms
        self.transform = kit.Compose([kit.RandomCrop(32, padding=4), kit.RandomHorizontalFlip(), kit.ToTensor(),
                                      kit.Normalize(cifar10.MEAN, cifar10.STD)])


@dataclass(frozen=True, kw_only=True)
class Data:
    """What is trained on, where, in batches of how many."""

    images: splits.ImageSet
    validation: splits.ImageSet
    device: torch.device
    batch: int


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", default=SETTINGS, help="NET:TYPE,..., the type being off or bf16")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9, help="at most")
    parser.add_argument("--steps", type=int, default=20, help="timed ones of a slice, at most")
    parser.add_argument("--minutes", type=float, default=15, help="of all settings together")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    settings = [tuple(setting.split(":")) for setting in options.settings.split(",")]
    if any(len(setting) != 2 or setting[1] not in ("off", "bf16") for setting in settings):
        parser.error(f"--settings {options.settings}: give NET:off or NET:bf16, with commas between")
    for model, _ in settings:
        spec_of(model)  # a misspelled name is told before anything is measured
    cifar = cifar10.require()
    data = Data(images=splits.load("train", cifar), validation=splits.load("validation", cifar),
                device=pick_device(options.device), batch=options.batch)
    results, end = [], time.monotonic() + 60 * options.minutes
    for number, (model, amp) in enumerate(settings):
        share_ends = time.monotonic() + (end - time.monotonic()) / (len(settings) - number)
        print(f"{model}, {amp}", flush=True)
        results.append(measured(model, amp, data, share_ends, options.rounds, options.steps))
    write_json(options.out, {
        "schema": "edge-se/training-speed/2", "device": device_name(data.device), "batch": data.batch,
        "warm_up_steps": WARM_UP, "compiler": compiling.why_not() is None, "settings": results,
        "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                        "threads": torch.get_num_threads(), "commit": environment.commit()}})
    print(f"written to {options.out}")


def measured(model: str, amp: str, data: Data, end: float, rounds: int, steps: int) -> dict[str, Any]:
    """One setting, to be through at `end` on the monotonic clock."""
    recipe = Recipe.model_validate({
        "batch_size": data.batch, "amp": amp, "phases": [{"epochs": 1}],
        "optimizer": {"learning_rate": 0.01}, "schedule": {"decay": "constant", "warmup_fraction": 0},
        "augmentation": {"translate": 4, "padding": "zero", "flip": "random"}})
    with tempfile.TemporaryDirectory() as folder:
        variants: dict[str, Step] = {}
        for name, choice in zip(ENGINES, (False, True)):
            if choice and (lacking := compiling.why_not()):
                print(f"  nothing is compiled: torch.compile needs {lacking}", flush=True)
                continue
            run = loop._Run(spec_of(model), recipe.model_copy(update={"compile": choice}), data.images,
                            data.validation, Path(folder), data.device, ALONE)
            variants[name] = engine_step(run)
            variants.setdefault(PIPELINE, pipeline_step(run))
        for workers, layout in itertools.product(WORKERS, LAYOUTS):
            variants[f"plain, {workers} workers, {layout}"] = plain_step(data, recipe, model, workers, layout)
        first = sum(first_timing(step, data.device) for step in variants.values())
        rounds, steps = affordable(end - time.monotonic(), first, rounds, steps)
        times = interleaved(variants, rounds, steps, data.device)
    return {"model": model, "amp": amp, "rounds": rounds, "steps": steps} | figures(times, data.batch)


def first_timing(step: Step, device: torch.device) -> float:
    """Seconds of a step, when it has compiled and its loader has started."""
    step()
    return timed(step, 2, device)


def affordable(seconds: float, of_all: float, rounds: int, steps: int) -> tuple[int, int]:
    """Rounds and timed steps of a slice that take `seconds`, where a step of every variant takes `of_all`.

    Steps are given up before rounds: a round is one figure, and their number is the n of what is told.
    """
    affordable_steps = int(seconds / (rounds * of_all)) - WARM_UP
    if affordable_steps >= FEWEST_STEPS:
        return rounds, min(steps, affordable_steps)
    fewer = int(seconds / ((WARM_UP + FEWEST_STEPS) * of_all))
    return min(rounds, max(FEWEST_ROUNDS, fewer)), min(steps, FEWEST_STEPS)


def engine_step(run: loop._Run) -> Step:
    """One step of the engine, which begins its epoch anew when it is through."""
    interrupts, watcher = Interrupts(), loop.Silent()

    def step() -> None:
        run.state.step %= run.steps_per_epoch
        run._one_step(watcher, interrupts)
    return step


def pipeline_step(run: loop._Run) -> Step:
    """What the engine does before the net: indices, draws, gather, normalisation."""
    numbers = itertools.count()

    def step() -> torch.Tensor:
        number, size = next(numbers) % run.steps_per_epoch, run.recipe.batch_size
        generator = torch.Generator().manual_seed(loop._seed(0, 0, number))
        indices = run._order(0)[number * size : (number + 1) * size]
        return run.augmenter.mixed(indices, 0, 32, generator).images
    return step


def plain_step(data: Data, recipe: Recipe, model: str, workers: int, layout: str) -> Step:
    """One step of the plain loop."""
    device = data.device
    kind, channels_last = amp_type(recipe, device), layout == "channels_last"
    memory = torch.channels_last if channels_last else torch.contiguous_format
    net = build(spec_of(model)).to(device, memory_format=memory)  # type: ignore[call-overload]
    settings = recipe.optimizer
    optimizer = torch.optim.SGD(net.parameters(), lr=settings.learning_rate, momentum=settings.momentum,
                                nesterov=settings.nesterov, weight_decay=settings.weight_decay)
    loader: DataLoader[Any] = DataLoader(
        Cifar10Images(data.images), batch_size=recipe.batch_size, shuffle=True, drop_last=True, num_workers=workers,
        persistent_workers=workers > 0, pin_memory=device.type == "cuda")

    def batches() -> Iterator[Any]:
        while True:
            yield from loader
    endless = batches()

    def step() -> float:
        inputs, labels = next(endless)
        inputs, labels = inputs.to(device, non_blocking=True, memory_format=memory), labels.to(device)
        with torch.autocast(device.type, kind, enabled=kind is not None):
            loss = F.cross_entropy(net(inputs), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float(loss.detach())
    return step


def interleaved(variants: dict[str, Step], rounds: int, steps: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds per step of each variant, one figure a round, the variants taking turns."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds):
        for name, step in variants.items():
            for _ in range(WARM_UP):
                step()
            times[name].append(timed(step, steps, device))
        print(f"  round {number + 1} of {rounds}, {steps} steps: "
              + ", ".join(f"{name} {1e3 * values[-1]:.1f} ms" for name, values in times.items()), flush=True)
    return times


def timed(step: Step, steps: int, device: torch.device) -> float:
    """Seconds per step; a GPU is waited for at both ends."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter_ns()
    for _ in range(steps):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter_ns() - started) / 1e9 / steps


def figures(times: dict[str, list[float]], batch: int) -> dict[str, Any]:
    """Raw times, medians, and the ratios within each round, so that a busy one disturbs both sides."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    pipeline, engines = times[PIPELINE], [name for name in ENGINES if name in times]

    def against(layout: str, engine: str) -> dict[str, Any]:
        best = min((name for name in times if name.endswith(layout)), key=lambda name: medians[name])
        ratios = [plain / own for plain, own in zip(times[best], times[engine])]
        return {"loop": best, "ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
    return {
        "loops": [{"loop": name, "images_per_s": batch / medians[name], "step_ms": 1e3 * medians[name],
                   "step_ms_of_rounds": [1e3 * value for value in values]} for name, values in times.items()],
        "engines": [{"loop": engine, "against": {layout: against(layout, engine) for layout in LAYOUTS},
                     "pipeline_share": statistics.median(part / whole for part, whole in zip(pipeline, times[engine]))}
                    for engine in engines]}


if __name__ == "__main__":
    main()
