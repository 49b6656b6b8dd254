"""Is the training engine faster than a plain loop? python bench/training_speed.py   (about ten minutes on two cores)

The plain loop is that of the usual tutorials: torchvision's CIFAR10 (PIL images), crop, flip, normalise, a DataLoader
of 0 or 2 workers, torch's SGD as it comes, the same net, batch and type (`--amp`). It runs in torch's default memory
format and, to tell what that is worth, in channels_last too, which the engine takes. All take turns, a slice of steps
each; the first steps of a slice are not timed, so that no loader gains by what it fetched while others ran. Beside it
the engine's input pipeline alone. Writes bench/results/training_speed.json.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
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
from edge_se.training import loop
from edge_se.training.distributed import ALONE
from edge_se.training.interrupts import Interrupts
from edge_se.training.precision import amp_type, device_name, pick_device

RESULT = Path(__file__).parent / "results" / "training_speed.json"
WARM_UP = 3  # steps of each slice that are not timed
Step = Callable[[], object]


class Cifar10Images(torchvision.datasets.CIFAR10):
    """torchvision's data set over images that are at hand in another file format than its own."""

    def __init__(self, images: splits.ImageSet) -> None:
        assert images.labels is not None
        self.data, self.targets = images.pixels.transpose(0, 2, 3, 1), images.labels.tolist()
        self.target_transform = None
        kit = torchvision.transforms
        self.transform = kit.Compose([kit.RandomCrop(32, padding=4), kit.RandomHorizontalFlip(), kit.ToTensor(),
                                      kit.Normalize(cifar10.MEAN, cifar10.STD)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18_imagenet7")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--amp", default="off", choices=("off", "bf16"))
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=20, help="timed ones of a slice")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    recipe = Recipe.model_validate({
        "batch_size": options.batch, "amp": options.amp, "phases": [{"epochs": 1}],
        "optimizer": {"learning_rate": 0.01}, "schedule": {"decay": "constant", "warmup_fraction": 0},
        "augmentation": {"translate": 4, "padding": "zero", "flip": "random"}})
    device, images = pick_device(options.device), splits.load("train", cifar10.require())
    with tempfile.TemporaryDirectory() as folder:
        run = loop._Run(spec_of(options.model), recipe, images, splits.load("validation", cifar10.require()),
                        Path(folder), device, ALONE)
        variants = {"engine": engine_step(run), "input pipeline of the engine": pipeline_step(run)}
        for workers, layout in itertools.product((0, 2), ("contiguous", "channels_last")):
            variants[f"plain, {workers} workers, {layout}"] = plain_step(images, recipe, options.model, device, workers,
                                                                         layout)
        times = interleaved(variants, options.rounds, options.steps, device)
    write_json(options.out, document(times, options, device))
    print(f"written to {options.out}")


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


def plain_step(images: splits.ImageSet, recipe: Recipe, model: str, device: torch.device, workers: int,
               layout: str) -> Step:
    """One step of the plain loop."""
    kind, channels_last = amp_type(recipe, device), layout == "channels_last"
    memory = torch.channels_last if channels_last else torch.contiguous_format
    net = build(spec_of(model)).to(device, memory_format=memory)  # type: ignore[call-overload]
    settings = recipe.optimizer
    optimizer = torch.optim.SGD(net.parameters(), lr=settings.learning_rate, momentum=settings.momentum,
                                nesterov=settings.nesterov, weight_decay=settings.weight_decay)
    loader = DataLoader(Cifar10Images(images), batch_size=recipe.batch_size, shuffle=True, drop_last=True,
                        num_workers=workers, persistent_workers=workers > 0, pin_memory=device.type == "cuda")

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
        print(f"round {number + 1} of {rounds}: " + ", ".join(f"{name} {1e3 * values[-1]:.1f} ms"
                                                             for name, values in times.items()), flush=True)
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


def document(times: dict[str, list[float]], options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """The measurement: raw times, medians, and the ratios within each round, so that a busy one disturbs both sides."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    pipeline = times.pop("input pipeline of the engine")

    def against(layout: str) -> dict[str, Any]:
        best = min((name for name in times if layout in name), key=lambda name: medians[name])
        ratios = [plain / own for plain, own in zip(times[best], times["engine"])]
        return {"loop": best, "ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
    return {
        "schema": "edge-se/training-speed/1", "model": options.model, "batch": options.batch, "amp": options.amp,
        "device": device_name(device), "rounds": options.rounds, "steps": options.steps, "warm_up_steps": WARM_UP,
        "rows": [{"loop": name, "images_per_s": options.batch / medians[name], "step_ms": 1e3 * medians[name],
                  "step_ms_of_rounds": [1e3 * value for value in values]} for name, values in times.items()],
        "against_plain": against("contiguous"), "against_plain_channels_last": against("channels_last"),
        "input_pipeline": {"batch_ms": 1e3 * statistics.median(pipeline),
                           "batch_ms_of_rounds": [1e3 * value for value in pipeline],
                           "share_of_step": statistics.median(
                               part / whole for part, whole in zip(pipeline, times["engine"]))},
        "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                        "threads": torch.get_num_threads(), "commit": environment.commit()}}


if __name__ == "__main__":
    main()
