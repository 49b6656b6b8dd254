"""What a report is made of: builds with what is known of them, and the documents of `bench` and `sensitivity`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_se.core.artifacts import MANIFEST, Artifact, Build
from edge_se.core.errors import ArtifactError, EdgeSeError
from edge_se.core.files import read_json
from edge_se.data.splits import ImageSet
from edge_se.quantization.ranges import Statistics


class Given(BaseModel):
    """A document that some version of edge-se wrote: fields that are not needed here are let through."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


# No clock tells less than a femtosecond, no device more than a year: ratios and charts of altered figures stay finite.
Milliseconds = Annotated[float, Field(ge=1e-12, le=1e12)]
Decibels = Annotated[float, Field(ge=-1e6, le=1e6)]


class Row(Given):
    """A measurement or, with `estimated`, a roofline. Milliseconds per batch."""

    precision: str
    target: str
    backend: str
    batch: int = Field(ge=1)
    threads: int | None
    p50_ms: Milliseconds
    p90_ms: Milliseconds | None
    p99_ms: Milliseconds | None
    cv: float | None
    throughput_ips: float = Field(ge=1e-12, le=1e18)
    estimated: bool
    sha256: str
    scenario: str = "latency"
    streams: int | None = None
    board: str | None = None
    mode: str | None = None


class Bench(Given):
    """The document of `bench --json`."""

    schema_: Literal["edge-se/bench/1"] = Field(alias="schema")
    device: str
    measurements: tuple[Row, ...]
    environment: dict[str, Any]

    @property
    def machine(self) -> str:
        """The device or processor that was measured, as far as the document says."""
        told = self.environment.get("device")
        hardware = self.environment.get("hardware")
        name = told.get("name") if isinstance(told, dict) else None
        return str(name or (hardware.get("cpu") if isinstance(hardware, dict) else None) or self.device)


class SensitiveUnit(Given):
    """A unit alone in INT8: SQNR of the logits in dB, answers that changed, milliseconds faster than FP32."""

    name: str
    kind: Literal["layer", "se-gate", "operator"]
    macs: int
    sqnr_db: Decibels
    flips: int
    brings_ms: float | None


class Sensitivity(Given):
    """The document of `sensitivity --json`."""

    schema_: Literal["edge-se/sensitivity/1"] = Field(alias="schema")
    target: str
    method: str
    dataset: str
    n: int
    sha256: str
    units: tuple[SensitiveUnit, ...]


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


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Logits (N, classes) of each file of a build on the labelled `images`."""

    images: ImageSet
    logits: dict[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Material:
    """A build and what is known of it; None for what is not at hand."""

    name: str
    build: Build
    predictions: Predictions | None = None
    statistics: Statistics | None = None


Kind = TypeVar("Kind", Bench, Sensitivity)


def read_given(kind: type[Kind], path: Path) -> Kind:
    """The document of `kind` in `path`; EdgeSeError when it is missing, of another kind or incomplete."""
    command = "bench" if kind is Bench else "sensitivity"
    fix = f"give a file that `edge-se {command} --out FILE` wrote"
    try:
        return kind.model_validate(read_json(path, EdgeSeError, fix=fix))
    except ValidationError as invalid:
        raise EdgeSeError(_first_problem(invalid), where=path, fix=fix) from None


def require_whole(build: Build) -> None:
    """ArtifactError when the manifest of `build` lacks what a report says of it, or holds it in another form."""
    where, fix = build.folder / MANIFEST, "export again"
    try:
        Manifest.model_validate(build.document())
        json.dumps(build.document(), allow_nan=False)
    except ValidationError as invalid:
        raise ArtifactError(_first_problem(invalid), where=where, fix=fix) from None
    except ValueError as broken:
        raise ArtifactError(f"holds a figure that is none ({broken})", where=where, fix=fix) from broken


def _first_problem(invalid: ValidationError) -> str:
    problem = invalid.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"'{place}': {problem['msg'][:1].lower()}{problem['msg'][1:]}"
