"""Documents that some version of edge-se wrote, read with their kinds checked; whether a manifest is whole."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from edge_se.core.artifacts import MANIFEST, Artifact, Build
from edge_se.core.errors import ArtifactError


class Given(BaseModel):
    """A document that some version of edge-se wrote: fields that are not needed here are let through."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Pixels(Given):
    """What was done to the pixels."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Surroundings(Given):
    """What a build was made on."""

    versions: dict[str, str]
    hardware: dict[str, Any]
    commit: str | None = None


class CalibrationSet(Given):
    """What a build was calibrated on."""

    name: str
    images: int
    sha256: str
    table_sha256: str | None = None


class Manifest(Given):
    """What a report takes from a build's manifest, beyond what reading the build has checked."""

    model: str
    source: dict[str, Any]
    calibration: CalibrationSet | None
    preprocessing: Pixels
    labels: tuple[str, ...]
    artifacts: tuple[Artifact, ...]
    environment: Surroundings


def require_whole(build: Build) -> None:
    """ArtifactError when the manifest of `build` lacks what a report says of it, or has it in another form."""
    where, fix = build.folder / MANIFEST, "export again"
    try:
        Manifest.model_validate(build.document())
        json.dumps(build.document(), allow_nan=False)
    except ValidationError as invalid:
        raise ArtifactError(first_problem(invalid), where=where, fix=fix) from None
    except ValueError as broken:
        raise ArtifactError(f"holds a figure that is none ({broken})", where=where, fix=fix) from broken


def first_problem(invalid: ValidationError) -> str:
    """The first thing that is wrong, by its place in the document."""
    problem = invalid.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"'{place}': {problem['msg'][:1].lower()}{problem['msg'][1:]}"
