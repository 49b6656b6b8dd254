"""A study file (TOML) and its cells: every model by every recipe by every seed, the seeds shared by all.

A cell's key is the hash of what its weights depend on, so that the same cell of two studies is trained once.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictInt

from edge_se.core.assets import asset
from edge_se.core.errors import EdgeSeError, RecipeError, did_you_mean
from edge_se.core.recipes import LARGEST_SEED, LONGEST, Recipe, read_recipe, recipe_of, shipped_recipes
from edge_se.core.toml_files import Table, read_toml
from edge_se.data.splits import SPLITS, read_manifest
from edge_se.nets.spec import ModelSpec
from edge_se.nets.zoo import MODELS, spec_of

OWN = "own"  # the recipe that `train` takes when none is named
Names = Annotated[tuple[str, ...], Field(min_length=1)]
CURVE = 3  # epochs after the warm-up that a volatility needs: two differences


class Int8(Table):
    """Each cell's net quantized in every combination of these, against its own FP32, on validation images."""

    targets: Names = ("cpu",)
    placements: Names = ("se-float",)
    methods: Names = ("mse",)
    calibration: Names = ("cifar10-calib512",)
    images: StrictInt = Field(default=5000, gt=0, le=5000)
    latency: StrictBool = False


class Robustness(Table):
    """Each cell's net, FP32 and one INT8 file, on corrupted validation images."""

    corruptions: Names
    severities: Annotated[tuple[Annotated[StrictInt, Field(ge=1, le=5)], ...], Field(min_length=1)] = (1, 2, 3, 4, 5)
    target: str = "cpu"
    images: StrictInt = Field(default=5000, gt=0, le=5000)


class Evaluations(Table):
    """What is measured of each trained cell beside validation top-1. `test` reads the test set once."""

    test: StrictBool = False
    volatility: StrictBool = False
    int8: Int8 | None = None
    robustness: Robustness | None = None


class Study(Table):
    """A question and the grid that answers it. Models are compared with `baseline`, recipes with `baseline_recipe`."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    question: str = Field(min_length=1)
    models: Names
    recipes: Names
    seeds: Annotated[tuple[Annotated[StrictInt, Field(ge=0, le=LARGEST_SEED)], ...], Field(min_length=1)]
    baseline: str
    baseline_recipe: str | None = None
    epochs: StrictInt | None = Field(default=None, gt=0, le=LONGEST)
    evaluations: Evaluations = Evaluations()

    @property
    def baseline_recipe_label(self) -> str | None:
        """What rows call `baseline_recipe`."""
        return None if self.baseline_recipe is None else recipe_label(self.baseline_recipe)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One net by one recipe of `epochs` with one seed. `key`: hexadecimal SHA-256 of what its weights depend on.

    `curve_start`: epochs at the start that a volatility leaves out: the warm-up, and all before the last resolution.
    """

    model: str
    recipe: str
    recipe_file: Path
    epochs: int
    seed: int
    key: str
    curve_start: int

    @property
    def folder(self) -> str:
        """The name of its run folder, whatever the study calls its recipe: what it is, and the start of its key."""
        return f"{self.model}-e{self.epochs}-s{self.seed}-{self.key[:10]}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A study with its cells, by recipe, then model, then seed."""

    study: Study
    cells: tuple[Cell, ...]


def read_plan(path: Path) -> Plan:
    """The plan of a study file; EdgeSeError for an invalid key, name, recipe or number."""
    try:
        study = read_toml(Study, path, EdgeSeError)
    except FileNotFoundError as missing:
        raise EdgeSeError("no such study", where=path,
                          fix="give a TOML file, one of bench/studies for instance") from missing
    _require_sense(study, path)
    data, cells = _data_sha256(), []
    for name in study.recipes:
        for model in study.models:
            file = recipe_file(name, model, path)
            recipe = _shortened(read_recipe(file), study.epochs, path)
            start = _curve_start(recipe)
            if study.evaluations.volatility and start + CURVE > recipe.epochs:
                raise EdgeSeError(f"{recipe.epochs} epochs of '{name}' leave fewer than {CURVE} after the warm-up and "
                                  "at the last resolution", where=path, fix="train longer, or leave `volatility` out")
            _require_size(recipe, spec_of(model), study, name, path)
            cells += [Cell(model=model, recipe=recipe_label(name), recipe_file=file, epochs=recipe.epochs, seed=seed,
                           curve_start=start, key=_key(spec_of(model), recipe.model_copy(update={"seed": seed}), data))
                      for seed in study.seeds]
    if len({cell.key for cell in cells}) < len(cells):
        raise EdgeSeError("two of its recipes differ only in their names", where=path, fix="leave one out")
    return Plan(study=study, cells=tuple(cells))


def recipe_file(name: str, model: str, study: Path) -> Path:
    """`own` (the model's), a path relative to the study file, or a shipped recipe; RecipeError otherwise."""
    if name == OWN:
        return recipe_of(model)
    if name.endswith(".toml"):
        return study.parent / name
    shipped = shipped_recipes()
    if name not in shipped:
        raise RecipeError(f"unknown recipe '{name}'", where=study,
                          fix=did_you_mean(name, [*shipped, OWN], otherwise="give a .toml file relative to the study"))
    return shipped[name]


def _curve_start(recipe: Recipe) -> int:
    before = sum(resolution != recipe.resolutions[-1] for resolution in recipe.resolutions)
    return max(math.ceil(recipe.epochs * recipe.schedule.warmup_fraction), before)


def _shortened(recipe: Recipe, epochs: int | None, path: Path) -> Recipe:
    if epochs is None:
        return recipe
    try:
        return recipe.shortened(epochs)
    except RecipeError as error:
        raise EdgeSeError(error.what, where=path, fix=error.fix) from error


def _require_size(recipe: Recipe, net: ModelSpec, study: Study, name: str, path: Path) -> None:
    """INT8 and corruptions are measured at the size at which a net is exported."""
    last, told = recipe.resolutions[-1], study.evaluations
    if last != net.input_size and (told.int8 is not None or told.robustness is not None):
        raise EdgeSeError(f"'{name}' ends at {last} px, and '{net.name}' is exported at {net.input_size} px",
                          where=path,
                          fix="leave `int8` and `robustness` out, or train to the end at the net's own size")


def recipe_label(recipe: str) -> str:
    """What rows and folders call a recipe: its file's name."""
    return recipe.rpartition("/")[2].removesuffix(".toml")


def _require_sense(study: Study, path: Path) -> None:
    for key, values in (("models", study.models), ("seeds", study.seeds),
                        ("recipes", tuple(recipe_label(name) for name in study.recipes))):
        if len(set(values)) < len(values):
            raise EdgeSeError(f"'{key}' names one twice: {', '.join(map(str, values))}", where=path,
                              fix="name each once")
    _require_names("models", study.models, MODELS, path, listing="`edge-se models list`")
    for key, value, among in (("baseline", study.baseline, study.models),
                              ("baseline_recipe", study.baseline_recipe or study.recipes[0], study.recipes)):
        if value not in among:
            raise EdgeSeError(f"'{key}' is '{value}', which the study does not train", where=path,
                              fix=did_you_mean(value, among))
    if study.evaluations.int8 is not None:
        _require_int8(study.evaluations.int8, path)
    if study.evaluations.robustness is not None:
        _require_robustness(study.evaluations.robustness, path)


def _require_int8(int8: Int8, path: Path) -> None:
    from edge_se.data.calibration import bundled
    from edge_se.quantization.methods import METHODS
    from edge_se.quantization.placement import PLACEMENTS
    from edge_se.quantization.targets import TARGETS

    known: tuple[tuple[str, Iterable[str], Iterable[str]], ...] = (
        ("targets", int8.targets, TARGETS), ("placements", int8.placements, PLACEMENTS),
        ("methods", int8.methods, METHODS), ("calibration", int8.calibration, bundled()))
    for key, names, table in known:
        _require_names(f"evaluations.int8.{key}", names, table, path)


def _require_robustness(robustness: Robustness, path: Path) -> None:
    from edge_se.data.corruptions import CORRUPTIONS
    from edge_se.quantization.targets import TARGETS

    _require_names("evaluations.robustness.corruptions", robustness.corruptions, CORRUPTIONS, path)
    _require_names("evaluations.robustness.target", (robustness.target,), TARGETS, path)


def _require_names(key: str, names: Iterable[str], known: Iterable[str], path: Path, *,
                   listing: str | None = None) -> None:
    for name in names:
        if name not in known:
            raise EdgeSeError(f"'{key}' names '{name}', which is unknown", where=path,
                              fix=did_you_mean(name, known, listing=listing))


def _key(spec: ModelSpec, recipe: Recipe, data: list[str]) -> str:
    """Hash of recipe, images and the net's fields that are not defaults: a new default changes no key."""
    net = {field.name: getattr(spec, field.name) for field in fields(spec)
           if field.name != "about" and getattr(spec, field.name) != field.default}
    return digest({"net": net, "recipe": recipe.sha256, "data": data})


def digest(content: Any) -> str:
    """Hexadecimal SHA-256 of a document; the order of keys does not count."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _data_sha256() -> list[str]:
    """Hash of the training and validation manifests; the images are checked when they are read."""
    return [read_manifest(asset("calibration", f"{SPLITS[split]}.json"))["sha256"] for split in ("train", "validation")]
