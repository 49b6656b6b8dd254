"""`train`: a net by a recipe, to weights and the card that says how good they are and where they came from."""

from __future__ import annotations

import csv
import io
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_se.core import environment
from edge_se.core.assets import asset
from edge_se.core.errors import TrainingError, UnavailableError
from edge_se.core.files import sha256_of, write_json, write_text
from edge_se.core.progress import SILENT, Advance, Progress
from edge_se.core.recipes import Recipe, read_recipe
from edge_se.data import cifar10, splits
from edge_se.data.splits import ImageSet
from edge_se.evaluation.statistics import wilson_interval
from edge_se.graph.metadata import LAYOUT
from edge_se.nets.zoo import ModelSpec, build, spec_of

if TYPE_CHECKING:
    from torch import nn

    from edge_se.training.loop import TrainedNet

SCHEMA = "edge-se/card/1"
RUNS = Path("runs")


def train(model: str, *, recipe: Path | None = None, epochs: int | None = None, seed: int | None = None,
          device: str = "auto", out: Path | None = None, resume: bool = False, data: Path | None = None,
          progress: Progress = SILENT) -> dict[str, Any]:
    """Trains, then writes `weights.safetensors` (fp16), `card.json` and `log.csv` to `out` (runs/NAME-sSEED).

    The card's figures are those of the fp16 weights that were written, read back; the test set is read once, here.
    """
    spec = spec_of(model)
    plan = _recipe(recipe or asset("models", model, "recipe.toml"), epochs, seed)
    loop = _loop()
    where = loop.pick_device(device)
    cifar = cifar10.require(data)
    images, validation = splits.load("train", cifar), splits.load("validation", cifar)
    folder = out or RUNS / f"{model}-s{plan.seed}"
    if (folder / "checkpoint.pt").exists() and not resume:
        raise TrainingError("holds the checkpoint of an earlier run", where=folder,
                            fix="go on with --resume, or choose another --out")
    with _Watcher(progress, plan) as watcher:
        trained = loop.train(spec, plan, images, validation, folder=folder, device=where, resume=resume,
                             watcher=watcher)
    return _finish(spec, plan, trained, images, validation, splits.load("test", cifar), folder, progress)


def _loop() -> Any:
    try:
        from edge_se.training import loop
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UnavailableError("training needs torch", where="train", fix="pip install 'edge-se[torch]'") from error
    return loop


def _recipe(path: Path, epochs: int | None, seed: int | None) -> Recipe:
    recipe = read_recipe(path)
    if epochs is not None:
        recipe = recipe.shortened(epochs)
    return recipe if seed is None else recipe.model_copy(update={"seed": seed})


def _finish(spec: ModelSpec, recipe: Recipe, trained: TrainedNet, images: ImageSet, validation: ImageSet,
            test: ImageSet, folder: Path, progress: Progress) -> dict[str, Any]:
    from edge_se.graph.counting import count
    from edge_se.graph.export import to_onnx
    from edge_se.graph.metadata import ModelMetadata
    from edge_se.training.checkpoint import load_weights, save_weights

    weights = folder / "weights.safetensors"
    save_weights(weights, trained.state, {"model": spec.name, "recipe_sha256": recipe.sha256})
    net = build(spec)
    load_weights(net, weights)
    card = {
        "schema": SCHEMA, "model": spec.name, "architecture": asdict(spec),
        "params": sum(parameter.numel() for parameter in net.parameters()),
        "macs": count(to_onnx(net, ModelMetadata(model=spec.name), spec.input_size)).macs,
        "input": {"layout": LAYOUT, "size": spec.input_size, "mean": list(cifar10.MEAN), "std": list(cifar10.STD)},
        "labels": list(cifar10.CLASSES),
        "weights": {"file": weights.name, "sha256": sha256_of(weights), "dtype": "float16"},
        "recipe": {"sha256": recipe.sha256, "content": recipe.model_dump(mode="json")},
        "splits": {kind.split: {"name": kind.name, "n": len(kind), "sha256": kind.sha256}
                   for kind in (images, validation, test)},
        "validation": _scored(net, validation, progress), "test": _scored(net, test, progress),
        "best_epoch": trained.best_epoch, "epochs": recipe.epochs, "seed": recipe.seed,
        "seconds": round(trained.seconds, 1), "device": trained.device,
        "amp": "bf16" if trained.amp else "off", "hardware": environment.hardware(),
        "versions": environment.versions(), "commit": environment.commit(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    write_text(folder / "log.csv", _csv(trained.history))
    write_json(folder / "card.json", card)
    return card | {"out": str(folder)}


def _scored(net: nn.Module, images: ImageSet, progress: Progress) -> dict[str, Any]:
    """Top-1 in FP32 with its 95 % Wilson interval, in percent."""
    import torch

    right, start = 0, 0
    net.eval()
    with progress.task(f"evaluating on {images.name}", len(images)) as advance, torch.no_grad():
        for batch in images.batches(250):
            logits = net(torch.from_numpy(batch).contiguous(memory_format=torch.channels_last))
            right += int((logits.argmax(1).numpy() == images.labels[start : start + len(batch)]).sum())  # type: ignore[index]
            start += len(batch)
            advance(len(batch))
    low, high = wilson_interval(right, len(images))
    return {"top1": 100 * right / len(images), "n": len(images), "ci95": [round(100 * low, 2), round(100 * high, 2)],
            "interval": "Wilson"}


def _csv(history: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


class _Watcher:
    """A bar per epoch and a note per finished one, with the time that is left."""

    def __init__(self, progress: Progress, recipe: Recipe) -> None:
        self._progress, self._recipe = progress, recipe
        self._stack, self._bar, self._epoch, self._done = ExitStack(), None, -1, 0

    _bar: Advance | None

    def __enter__(self) -> _Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def step(self, epoch: int, step: int, steps_per_epoch: int, loss: float) -> None:
        """Advances the bar; a resumed epoch starts where it was left."""
        if epoch != self._epoch:
            self._epoch, self._done = epoch, 0
            what = f"epoch {epoch + 1}/{self._recipe.epochs} at {self._recipe.resolutions[epoch]} px"
            self._bar = self._stack.enter_context(self._progress.task(what, steps_per_epoch))
        assert self._bar is not None
        self._bar(step - self._done)
        self._done = step

    def epoch(self, row: dict[str, float]) -> None:
        """One line per epoch, for terminals and logs alike."""
        self._stack.close()
        self._progress.note(
            f"epoch {row['epoch']}/{self._recipe.epochs}  {row['resolution']} px  loss {row['loss']:.3f}  "
            f"validation top-1 {row['validation_top1']:.2f} %  {row['seconds'] / 60:.1f} min")
