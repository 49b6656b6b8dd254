"""run.json: what a run is made of, written before its first step, so that a folder says what lies in it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from edge_se.core import environment
from edge_se.core.errors import TrainingError
from edge_se.core.files import read_json, write_json
from edge_se.core.recipes import Recipe
from edge_se.data.images import Images
from edge_se.nets.spec import ModelSpec
from edge_se.training.compiling import compiles
from edge_se.training.precision import AMP_NAMES, amp_type, device_name

SCHEMA = "edge-se/run/1"
MANIFEST = "run.json"
ARITHMETIC = ("device", "amp", "compiled", "processes")  # what rounds sums otherwise, and may change with the machine


def start_run(folder: Path, spec: ModelSpec, recipe: Recipe, recipe_name: str, images: Mapping[str, Images],
              device: torch.device, processes: int, resume: bool) -> list[str]:
    """Writes the manifest, with `images` by what they are for; a resumed run keeps its times of starting.

    Returns the fields of ARITHMETIC in which a resumed run differs from its start: its result is then not bit-exact.
    Raises TrainingError when it was another run.
    """
    path = folder / MANIFEST
    data = {role: {"name": kind.name, "n": len(kind), "sha256": kind.sha256} for role, kind in images.items()}
    left = _left(path, spec, recipe, data) if resume and path.exists() else {}
    document = {
        "schema": SCHEMA, "model": spec.name, "architecture": asdict(spec),
        "recipe": {"name": recipe_name, "sha256": recipe.sha256, "content": recipe.model_dump(mode="json")},
        "data": data, "seed": recipe.seed, "epochs": recipe.epochs, "device": device_name(device),
        "amp": AMP_NAMES[amp_type(recipe, device)], "compiled": compiles(recipe), "processes": processes,
        "hardware": environment.hardware(), "versions": environment.versions(), "commit": environment.commit(),
        "started": [*left.get("started", []), _now()], "finished": None}
    write_json(path, document)
    return [name for name in ARITHMETIC if name in left and left[name] != document[name]]


def _left(path: Path, spec: ModelSpec, recipe: Recipe, data: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The manifest of the run to be resumed."""
    left = read_json(path, TrainingError)
    before, told = left.get("started"), left.get("recipe")
    if not isinstance(told, dict) or not isinstance(before, list) or not all(isinstance(time, str) for time in before):
        raise TrainingError("is not the manifest of a run", where=path,
                            fix="delete it and resume: checkpoint.pt has all that the run needs")
    if left.get("model") != spec.name or told.get("sha256") != recipe.sha256:
        raise TrainingError("belongs to another run: its model or recipe is not this one", where=path,
                            fix="resume with the same model, recipe and data, or use another --out")
    seen = left.get("data")
    for role, told in data.items():  # the epoch is chosen by what validation images tell, so they count, too
        before = seen.get(role) if isinstance(seen, dict) else None
        if isinstance(before, dict) and before.get("sha256") != told["sha256"]:
            raise TrainingError(f"belongs to another run: its {role} images are not these", where=path,
                                fix="resume with the same images, or use another --out")
    return left


def finish_run(folder: Path) -> None:
    """Notes in the manifest that the run came to its end."""
    write_json(folder / MANIFEST, read_json(folder / MANIFEST, TrainingError) | {"finished": _now()})


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
