"""`train`: a net by a recipe, to weights and the card that says how good they are and where they came from."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_se.core import environment
from edge_se.core.arguments import PathLike, path_of
from edge_se.core.cards import CARD, WEIGHTS
from edge_se.core.errors import ArtifactError, TrainingError, UnavailableError
from edge_se.core.files import read_json, sha256_of, write_json
from edge_se.core.interrupts import telling
from edge_se.core.measured_by import measured_by
from edge_se.core.outputs import require_folder
from edge_se.core.progress import SILENT, Progress
from edge_se.core.recipes import Recipe, default_recipe, find_recipe, read_recipe, recipe_of
from edge_se.data import cifar10, splits
from edge_se.data.dataset import find_dataset
from edge_se.data.images import Images
from edge_se.data.leaks import copies
from edge_se.evaluation.statistics import wilson_interval
from edge_se.nets.arithmetic import size_of
from edge_se.nets.spec import ModelSpec
from edge_se.nets.zoo import build, spec_of
from edge_se.steps.train_data import TrainingData, training_data
from edge_se.steps.train_watch import Watch

if TYPE_CHECKING:
    import torch
    from torch import nn

    from edge_se.training.loop import TrainedNet

SCHEMA = "edge-se/card/1"
RUNS = Path("runs")


def train(model: str, *, recipe: str | Path | None = None, epochs: int | None = None, seed: int | None = None,
          device: str = "auto", out: PathLike | None = None, resume: bool = False, data: PathLike | None = None,
          input_size: int | None = None, skip_broken: bool = False, tensorboard: bool = False, test: bool = True,
          progress: Progress = SILENT) -> dict[str, Any]:
    """Trains, then writes `weights.safetensors` (fp16), `card.json`, `run.json` and `log.csv` to `out`
    (runs/NAME-sSEED). `recipe` is a file or the name of a shipped one; without it the net's own for CIFAR-10, else
    `fast-cpu`. `data` is CIFAR-10 or labelled images in any layout, for which the net gets their classes and
    `input_size`. With `skip_broken` images that cannot be decoded are left out and counted.

    The card's figures are those of the fp16 weights that were written, read back; the test set is read once, here, or,
    without `test`, not at all. Of the processes that torchrun starts the first one writes and returns the card, the
    others just say their `rank`.
    """
    out, data = path_of(out), path_of(data)
    spec = spec_of(model)
    named = find_recipe(recipe) if recipe else None
    dataset = find_dataset(data, skip_broken=skip_broken)
    own_images = dataset is not None and not dataset.cifar
    path = named or (default_recipe() if own_images else recipe_of(model))
    chosen = _recipe(path, epochs, seed)
    loop = _loop()
    from edge_se.training import distributed, logs
    from edge_se.training.compiling import compiles
    from edge_se.training.precision import pick_device
    from edge_se.training.run_folder import MANIFEST, finish_run, start_run

    process = distributed.own_process()
    where = pick_device(device, process.local_rank)
    folder = out or RUNS / f"{model}-s{chosen.seed}"
    if (folder / loop.CHECKPOINT).exists() and not resume:
        raise TrainingError("holds the checkpoint of an earlier run", where=folder,
                            fix="go on with --resume, or choose another --out")
    if resume and not (folder / loop.CHECKPOINT).exists():
        raise TrainingError(f"holds no {loop.CHECKPOINT} to go on from", where=folder,
                            fix="leave --resume out to begin anew, or name the folder of the run with --out")
    if not (folder / loop.CHECKPOINT).exists():  # which tells whose run it is, when a run goes on
        require_folder(folder, {MANIFEST: "run", CARD: "card"}, (WEIGHTS, logs.LOG), sources=(path,))
    seen = training_data(spec, chosen, dataset, input_size, progress=progress if process.first else SILENT)
    spec, chosen = seen.spec, seen.recipe
    board = logs.TensorBoard(folder) if tensorboard and process.first else None
    with distributed.joined(where) as group, Watch(progress if group.first else SILENT, chosen, board) as watch:
        if group.first:
            other = start_run(folder, spec, chosen, path.name, {"train": seen.images, "validation": seen.validation},
                              where, group.size, resume)
            if other:
                progress.note(f"goes on with another value of {', '.join(other)} than it began with: its weights will "
                              "not be those of a run without the interruption")
            if where.type == "cpu" and chosen.amp == "bf16" and not environment.has_fast_bf16():
                progress.note('the recipe asks for BF16, which this processor multiplies slowly; --recipe best-cpu, or '
                              'amp = "auto" in a recipe of your own, takes less time')
            if compiles(chosen):
                progress.note("compiles the net in the first step at each resolution, which may take a minute or more")
        with telling(progress if group.first else SILENT, lambda: _kept(folder / loop.CHECKPOINT)):
            trained = loop.train(spec, chosen, seen.images, seen.validation, folder=folder, device=where, resume=resume,
                                 watcher=watch, group=group)
    if not process.first:
        return {"schema": SCHEMA, "model": spec.name, "out": str(folder), "rank": process.rank}
    with telling(progress, lambda: _kept(folder / loop.CHECKPOINT)):
        card = _finish(seen, trained, where, test, folder, progress)
    finish_run(folder)
    return card | {"out": str(folder)}


def _loop() -> Any:
    try:
        from edge_se.training import loop
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UnavailableError("training needs torch", where="train", fix="pip install 'edge-se[torch]'") from error
    return loop


def _kept(checkpoint: Path) -> str:
    """What an interrupted run left, and how it goes on."""
    if checkpoint.is_file():
        return f"{checkpoint} is kept: the same command with --resume --out {checkpoint.parent} goes on from there"
    return f"{checkpoint.parent}: stopped before the first step; there is nothing to go on from"


def _recipe(path: Path, epochs: int | None, seed: int | None) -> Recipe:
    recipe = read_recipe(path)
    if epochs is not None:
        recipe = recipe.shortened(epochs)
    return recipe if seed is None else recipe.seeded(seed)


def test_figure(model: str, folder: Path, *, device: str = "auto", data: Path | None = None,
                progress: Progress = SILENT) -> dict[str, Any]:
    """Test top-1 of the run in `folder` that was trained without `test`, as its card would have told it on `device`."""
    from edge_se.training.precision import pick_device

    resolution = read_json(folder / CARD, ArtifactError)["input"]["size"]
    images = splits.load("test", cifar10.require(data))
    net = _net(spec_of(model), folder / WEIGHTS).to(pick_device(device))
    return _scored(net, images, resolution, "none", progress)[0]


def _net(spec: ModelSpec, weights: Path) -> nn.Module:
    from edge_se.nets.weights import load_weights

    net = build(spec)
    load_weights(net, weights)
    return net


def _finish(seen: TrainingData, trained: TrainedNet, device: torch.device, test: bool, folder: Path,
            progress: Progress) -> dict[str, Any]:
    from edge_se.nets.weights import save_weights
    from edge_se.training.logs import write_log

    spec, recipe, how = seen.spec, seen.recipe, seen.preprocessing
    weights, resolution = folder / WEIGHTS, recipe.resolutions[-1]
    if resolution != spec.input_size:
        progress.note(f"trained at {resolution} px, where '{spec.name}' is exported at {spec.input_size} px")
    save_weights(weights, trained.state, {"model": spec.name, "recipe_sha256": recipe.sha256})
    net = _net(spec, weights).to(device)
    scored = {"validation": seen.validation} | ({"test": seen.test()} if test and seen.test else {})
    scores = {role: _scored(net, kind, resolution, recipe.tta, progress) for role, kind in scored.items()}
    card = {
        "schema": SCHEMA, "model": spec.name, "architecture": asdict(spec),
        "params": sum(parameter.numel() for parameter in net.parameters()),
        "macs": size_of(spec, resolution).macs,  # as `models list` counts: before export folds anything
        "input": {"layout": how.layout, "size": resolution, "mean": list(how.mean), "std": list(how.std)},
        "labels": list(seen.labels),
        "weights": {"file": weights.name, "sha256": sha256_of(weights), "dtype": "float16"},
        "recipe": {"sha256": recipe.sha256, "content": recipe.model_dump(mode="json")},
        "splits": {role: {"name": kind.name, "n": len(kind), "sha256": kind.sha256}
                   | ({"skipped": kind.skipped} if kind.skipped else {}) | _copies(seen, role, kind)
                   for role, kind in {"train": seen.images, **scored}.items()},
        **{split: figures[0] for split, figures in scores.items()},
        "best_epoch": trained.best_epoch, "epochs": recipe.epochs, "seed": recipe.seed,
        "seconds": round(trained.seconds, 1), "device": trained.device, "amp": trained.amp,
        "compiled": trained.compiled, "hardware": environment.hardware(), "versions": environment.versions(),
        "commit": environment.commit(), "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    if seen.described is not None:
        card |= {"dataset": seen.described, "preprocessing": how.document()}
    if recipe.tta != "none":  # another figure, of twice the work per image: never in the place of the main one
        card["tta"] = {"views": recipe.tta, **{split: figures[1] for split, figures in scores.items()}}
    write_log(folder, trained.history)
    write_json(folder / CARD, card)
    return card


def _copies(seen: TrainingData, role: str, images: Images) -> dict[str, int]:
    """How many of the user's images of a split were trained on, too, where any were."""
    count = 0 if role == "train" or seen.described is None else copies(seen.images, images)
    return {"trained_on": count} if count else {}


def _scored(net: nn.Module, images: Images, resolution: int, tta: str,
            progress: Progress) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Top-1 in FP32 at `resolution`, on the device where `net` is, with its 95 % Wilson interval, in percent; then the
    same of the mean of the logits of each image and its mirror image, where `tta` is "flip".
    """
    import torch

    from edge_se.data.augment import resize
    from edge_se.training.gpu import in_parts, without_tf32
    from edge_se.training.precision import device_name

    assert images.labels is not None
    right, start = [0, 0], 0
    net.eval()
    device = next(net.parameters()).device
    with progress.task(f"evaluating on {images.name}", len(images)) as advance, torch.no_grad(), without_tf32(device):
        for batch in images.batches(250):
            pixels = resize(torch.from_numpy(batch).to(device), resolution)
            views = [in_parts(net, pixels)]
            if tta == "flip":
                views.append((views[0] + in_parts(net, pixels.flip(3))) / 2)
            labels = images.labels[start : start + len(batch)]
            for number, logits in enumerate(views):
                right[number] += int((logits.argmax(1).cpu().numpy() == labels).sum())
            start += len(batch)
            advance(len(batch))
    judge = measured_by("torch", floats="f32") | ({} if device.type == "cpu" else {"device": device_name(device)})
    figures = [_figure(count, len(images)) | {"measured_by": judge} for count in right]
    return figures[0], figures[1] if tta == "flip" else None


def _figure(right: int, n: int) -> dict[str, Any]:
    low, high = wilson_interval(right, n)
    return {"top1": 100 * right / n, "n": n, "ci95": [round(100 * low, 2), round(100 * high, 2)], "interval": "Wilson"}
