"""What a cell that is done has left in its run folder: card, curve and evaluations, checked as they are read."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from edge_se.core.errors import ArtifactError
from edge_se.core.files import read_json, sha256_of
from edge_se.studies.collect import CONDITIONS, Figure, volatility
from edge_se.studies.plan import Cell, Evaluations, digest

CARD, LOG, WEIGHTS = "card.json", "log.csv", "weights.safetensors"
FIX = "delete the folder; the cell is then trained again"
_FIGURES = TypeAdapter(list[Figure], config=ConfigDict(allow_inf_nan=False))


class _Read(BaseModel):
    """Part of a document; what is not named here is not looked at."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class _Score(_Read):
    top1: float
    n: int
    ci95: Annotated[list[float], Field(min_length=2, max_length=2)]


class _Hashed(_Read):
    sha256: str


class _Card(_Read):
    """Of the card that `train` writes."""

    validation: _Score
    weights: _Hashed
    recipe: _Hashed
    seconds: float
    epochs: int
    best_epoch: int
    params: int
    macs: int
    device: str
    commit: str | None
    hardware: dict[str, Any]
    versions: dict[str, str]


def evaluations_of(wanted: Evaluations) -> list[tuple[str, dict[str, Any]]]:
    """Those that have files of their own, (kind, settings)."""
    content = wanted.model_dump(mode="json")
    test: list[tuple[str, dict[str, Any]]] = [("test", {})] if wanted.test else []
    return test + [(kind, content[kind]) for kind in ("int8", "robustness") if content[kind] is not None]


def evaluation_file(folder: Path, kind: str, settings: dict[str, Any]) -> Path:
    """Where the figures of an evaluation with these settings are kept; studies that ask for the same share it."""
    return folder / f"{kind}-{digest(settings)[:10]}.json"


def finished(cell: Cell, evaluations: Evaluations, folder: Path) -> dict[str, Any] | None:
    """Figures, curve and provenance of a cell whose every part is done, else None; ArtifactError for altered files."""
    files = [evaluation_file(folder, kind, settings) for kind, settings in evaluations_of(evaluations)]
    if not (folder / CARD).is_file() or not all(path.is_file() for path in files):
        return None
    card, curve = _card(folder / CARD), _curve(folder / LOG)
    if sha256_of(folder / WEIGHTS) != card.weights.sha256:
        raise ArtifactError("differ from those that their card tells of", where=folder / WEIGHTS, fix=FIX)
    low, high = card.validation.ci95
    figures = [Figure(evaluation="validation", measure="top1", value=card.validation.top1, low=low, high=high,
                      n=card.validation.n)]
    if evaluations.volatility:
        if len(curve) != card.epochs:
            raise ArtifactError(f"has {len(curve)} lines for {card.epochs} epochs", where=folder / LOG, fix=FIX)
        figures.append(Figure(evaluation="volatility", measure="sd_of_differences_pp",
                              value=volatility(curve[cell.curve_start:])))
    figures += [figure for path in files for figure in _figures(path)]
    return {"figures": [asdict(figure) for figure in figures], "curve": curve,
            "weights_sha256": card.weights.sha256, "recipe_sha256": card.recipe.sha256,
            **card.model_dump(include={"seconds", "epochs", "best_epoch", "params", "macs", "device", "commit",
                                       "hardware", "versions"})}


def _card(path: Path) -> _Card:
    try:
        return _Card.model_validate(read_json(path))
    except ValidationError as invalid:
        raise _broken(path, invalid) from None


def _figures(path: Path) -> list[Figure]:
    try:
        found = _FIGURES.validate_python(read_json(path).get("figures"))
    except ValidationError as invalid:
        raise _broken(path, invalid) from None
    strange = sorted({name for figure in found for name in figure.conditions} - set(CONDITIONS))
    if strange:
        raise ArtifactError(f"names a condition '{strange[0]}'", where=path, fix="delete the file")
    return found


def _curve(path: Path) -> list[float]:
    """Validation top-1 in percent of each epoch."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [float(row["validation_top1"]) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise ArtifactError(f"is no log of a training run ({error!r:.80})", where=path, fix=FIX) from error


def _broken(path: Path, invalid: ValidationError) -> ArtifactError:
    problem = invalid.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    return ArtifactError(f"'{place}': {problem['msg'][:1].lower()}{problem['msg'][1:]}", where=path, fix=FIX)
