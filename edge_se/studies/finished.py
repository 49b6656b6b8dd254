"""Results of a finished cell in its run folder: card, curve and evaluations, checked when they are read."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from edge_se.core.cards import CARD, WEIGHTS
from edge_se.core.errors import ArtifactError
from edge_se.core.files import read_json, sha256_of
from edge_se.core.measured_by import sound
from edge_se.studies.collect import CONDITIONS, Figure, volatility
from edge_se.studies.plan import Cell, Evaluations, digest
from edge_se.studies.tables import MEASURES
from edge_se.training.logs import LOG

FIX = "delete the folder; the cell is then trained again"
LARGEST = 1e9  # of a figure: milliseconds, points, flips; far below where a mean or a square overflows
_FIGURES = TypeAdapter(list[Figure], config=ConfigDict(allow_inf_nan=False))


class _Read(BaseModel):
    """Part of a document; other fields are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


Percent = Annotated[float, Field(ge=0, le=100)]


def _judge(told: dict[str, Any] | None) -> dict[str, Any] | None:
    if told is not None and not sound(told):
        raise ValueError("names nothing that computes")
    return told


class _Score(_Read):
    top1: Percent
    n: int = Field(ge=1)
    ci95: Annotated[list[Percent], Field(min_length=2, max_length=2)]
    measured_by: Annotated[dict[str, Any] | None, AfterValidator(_judge)] = None


class _Hashed(_Read):
    sha256: str


def _told(hardware: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(hardware.get("cpu"), str):
        raise ValueError("names no cpu")
    return hardware


class _Card(_Read):
    """Fields of the card that `train` writes."""

    validation: _Score
    weights: _Hashed
    recipe: _Hashed
    seconds: float = Field(ge=0)
    epochs: int = Field(ge=1)
    best_epoch: int
    params: int
    macs: int
    device: str
    commit: str | None
    hardware: Annotated[dict[str, Any], AfterValidator(_told)]
    versions: dict[str, str]


def evaluations_of(wanted: Evaluations) -> list[tuple[str, dict[str, Any]]]:
    """(kind, settings) of the evaluations that have files of their own."""
    content = wanted.model_dump(mode="json")
    test: list[tuple[str, dict[str, Any]]] = [("test", {})] if wanted.test else []
    return test + [(kind, content[kind]) for kind in ("int8", "robustness") if content[kind] is not None]


def evaluation_file(folder: Path, kind: str, settings: dict[str, Any]) -> Path:
    """Where the figures of an evaluation with these settings are kept; studies that ask for the same share it."""
    return folder / f"{kind}-{digest(settings)[:10]}.json"


def is_evaluated(path: Path, weights_sha256: str) -> bool:
    """Whether `path` holds the evaluation of these weights. A cell that was trained again may have an older one."""
    return path.is_file() and read_json(path).get("weights_sha256") == weights_sha256


def finished(cell: Cell, evaluations: Evaluations, folder: Path) -> dict[str, Any] | None:
    """Figures, curve and provenance of a cell whose every part is done, else None; ArtifactError for altered files."""
    files = {kind: evaluation_file(folder, kind, settings) for kind, settings in evaluations_of(evaluations)}
    if not (folder / CARD).is_file():
        return None
    card = _card(folder / CARD)
    if not all(is_evaluated(path, card.weights.sha256) for path in files.values()):
        return None
    curve = _curve(folder / LOG)
    if sha256_of(folder / WEIGHTS) != card.weights.sha256:
        raise ArtifactError("differ from those that the card describes", where=folder / WEIGHTS, fix=FIX)
    low, high = card.validation.ci95
    figures = [Figure(evaluation="validation", measure="top1", value=card.validation.top1, low=low, high=high,
                      n=card.validation.n, measured_by=card.validation.measured_by)]
    if evaluations.volatility:
        if len(curve) != card.epochs:
            raise ArtifactError(f"has {len(curve)} lines for {card.epochs} epochs", where=folder / LOG, fix=FIX)
        figures.append(Figure(evaluation="volatility", measure="sd_of_differences_pp",
                              value=volatility(curve[cell.curve_start:])))
    figures += [figure for kind, path in files.items() for figure in _figures(path, kind)]
    return {"figures": [asdict(figure) for figure in figures], "curve": curve,
            "evaluated_by": {kind: _commit(path) for kind, path in files.items()},
            "weights_sha256": card.weights.sha256, "recipe_sha256": card.recipe.sha256,
            **card.model_dump(include={"seconds", "epochs", "best_epoch", "params", "macs", "device", "commit",
                                       "hardware", "versions"})}


def _card(path: Path) -> _Card:
    try:
        return _Card.model_validate(read_json(path))
    except ValidationError as invalid:
        raise _broken(path, invalid) from None


def _figures(path: Path, kind: str) -> list[Figure]:
    try:
        figures = _FIGURES.validate_python(read_json(path).get("figures"))
    except ValidationError as invalid:
        raise _broken(path, invalid) from None
    for figure in figures:
        if strange := _strange(figure, kind):
            raise ArtifactError(strange, where=path, fix="delete the file")
    return figures


def _commit(path: Path) -> str | None:
    """The state of the code that made an evaluation; None where that is not known."""
    told = read_json(path).get("commit")
    if not isinstance(told, str | None):
        raise ArtifactError(f"names {told!r:.60} as a commit", where=path, fix="delete the file")
    return told


def _strange(figure: Figure, kind: str) -> str | None:
    """How the figure differs from what an evaluation of this kind writes; None when it does not."""
    if figure.evaluation != kind or figure.measure not in MEASURES:
        return f"holds a figure '{figure.measure}' of '{figure.evaluation}'"
    if abs(figure.value) > LARGEST:
        return f"tells a {figure.measure} of {figure.value}"
    if figure.measured_by is not None and not sound(figure.measured_by):
        return f"names {figure.measured_by!r:.60} as what computed it"
    for name, value in figure.conditions.items():
        if name not in CONDITIONS:
            return f"names a condition '{name}'"
        if isinstance(value, int) != (name == "severity"):
            return f"has '{name}' {value!r}"
    return None


def _curve(path: Path) -> list[float]:
    """Validation top-1 in percent of each epoch."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            curve = [float(row["validation_top1"]) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise ArtifactError(f"is no log of a training run ({error!r:.80})", where=path, fix=FIX) from error
    for value in curve:
        if not 0 <= value <= 100:  # nor NaN
            raise ArtifactError(f"tells a validation top-1 of {value} %", where=path, fix=FIX)
    return curve


def _broken(path: Path, invalid: ValidationError) -> ArtifactError:
    problem = invalid.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    return ArtifactError(f"'{key}': {problem['msg'][:1].lower()}{problem['msg'][1:]}", where=path, fix=FIX)
