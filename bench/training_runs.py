"""Training runs that go on in turns, each for some seconds at a time: what recipe_trials and time_to_accuracy share."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch

from edge_se.core.files import read_json, write_json
from edge_se.core.recipes import Recipe
from edge_se.data.splits import ImageSet
from edge_se.nets.spec import ModelSpec
from edge_se.training.loop import CHECKPOINT, train

ENDED, PROCESSOR = "ended.json", "processor.json"


class Turn:
    """A watcher that ends a turn after `seconds`, as Ctrl-C would, and counts processor seconds over all turns.

    A kill loses those since the last epoch's end. `epochs` has the count at each epoch's end.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self._file, self.ends = folder / PROCESSOR, time.monotonic() + seconds
        goes_on = (folder / CHECKPOINT).is_file() and self._file.is_file()
        before: dict[str, Any] = read_json(self._file) if goes_on else {"seconds": 0.0, "epochs": []}
        self._before: float = before["seconds"] - time.process_time()
        self.epochs: list[float] = before["epochs"]

    def step(self, epoch: int, step: int, steps_per_epoch: int, loss: float) -> None:
        """KeyboardInterrupt, of which the loop saves a checkpoint, when the turn is over."""
        if time.monotonic() > self.ends:
            raise KeyboardInterrupt

    def epoch(self, row: dict[str, float]) -> None:
        """Notes what the epoch took."""
        self.epochs.append(self._before + time.process_time())
        print(f"  epoch {row['epoch']:.0f}, {row['resolution']:.0f} px: {row['validation_top1']:.2f} %, "
              f"{self.epochs[-1]:.0f} s of processor time", flush=True)

    def close(self) -> None:
        """Keeps the count for the next turn."""
        write_json(self._file, {"seconds": self._before + time.process_time(), "epochs": self.epochs})


def ended(folder: Path, recipe: Recipe, images: ImageSet) -> dict[str, Any] | None:
    """What `advance` returned when the run in `folder` came to its end; None while it has not, or was another."""
    path = folder / ENDED
    document = read_json(path) if path.is_file() else {}
    own = (document.get("recipe_sha256"), document.get("images")) == (recipe.sha256, len(images))
    return document if own else None


def advance(spec: ModelSpec, recipe: Recipe, images: ImageSet, validation: ImageSet, folder: Path,
            seconds: float) -> dict[str, Any] | None:
    """Trains on in `folder` for about `seconds`. The run's document once it ends, else None.

    `epochs` of the document: each epoch's resolution, validation top-1 in percent, seconds and processor seconds since
    the run began. TrainingError where `folder` has a run of another net, recipe or data.
    """
    if (document := ended(folder, recipe, images)) is not None:
        return document
    folder.mkdir(parents=True, exist_ok=True)
    turn = Turn(folder, seconds)
    try:
        trained = train(spec, recipe, images, validation, folder=folder, device=torch.device("cpu"),
                        resume=(folder / CHECKPOINT).is_file(), watcher=turn)
    except KeyboardInterrupt:
        if time.monotonic() <= turn.ends:
            raise
        return None
    finally:
        turn.close()
    epochs = [{key: row[key] for key in ("resolution", "validation_top1", "seconds")} | {"processor_seconds": spent}
              for row, spent in zip(trained.history, turn.epochs, strict=True)]
    document = {"recipe_sha256": recipe.sha256, "recipe": json.loads(recipe.model_dump_json()), "images": len(images),
                "amp": trained.amp, "compiled": trained.compiled, "best_epoch": trained.best_epoch,
                "top1": trained.history[trained.best_epoch - 1]["validation_top1"], "epochs": epochs}
    write_json(folder / ENDED, document)
    (folder / CHECKPOINT).unlink()
    return document
