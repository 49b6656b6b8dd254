"""The inputs of a report: builds with what is known of them, and documents of other commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from edge_se.core.artifacts import Build
from edge_se.core.errors import EdgeSeError
from edge_se.core.files import read_json
from edge_se.core.measured_by import sound
from edge_se.core.whole import Given, first_problem
from edge_se.data.images import Images
from edge_se.quantization.ranges import Statistics

# Times are between a femtosecond and a year, so that ratios and charts of altered figures stay finite.
Milliseconds = Annotated[float, Field(ge=1e-12, le=1e12)]
Decibels = Annotated[float, Field(ge=-1e6, le=1e6)]
Percent = Annotated[float, Field(ge=-1e-6, le=100 + 1e-6)]
Points = Annotated[float, Field(ge=-200, le=200)]


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
    top1: Percent | None = None
    top1_ci: tuple[Percent, Percent] | None = None
    measured_by: dict[str, Any] | None = None
    judged_on: dict[str, Any] | None = None  # where the accuracy was measured with the session that was timed

    @property
    def judged_there(self) -> bool:
        """Whether a device measured this accuracy; else it is the file's of its manifest."""
        return None not in (self.top1, self.top1_ci, self.measured_by, self.judged_on)

    @model_validator(mode="after")
    def _sound(self) -> Row:
        if self.measured_by is not None and not sound(self.measured_by):
            raise ValueError("measured_by is not whole")
        return self


class Bench(Given):
    """The document of `bench --json`."""

    schema_: Literal["edge-se/bench/1"] = Field(alias="schema")
    device: str
    measurements: tuple[Row, ...]
    environment: dict[str, Any]

    @property
    def machine(self) -> str:
        """The device or processor that was measured, if the document names it."""
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
    units: tuple[SensitiveUnit, ...] = Field(min_length=1)


class CorruptedFile(Given):
    """A file of the build that was evaluated."""

    file: str
    label: str
    precision: str
    sha256: str
    measured_by: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _sound(self) -> CorruptedFile:
        if self.measured_by is not None and not sound(self.measured_by):
            raise ValueError("measured_by is not whole")
        return self


class Answers(Given):
    """One file under one condition; FP32 has no drop."""

    file: str
    top1: Percent
    top1_ci: tuple[Percent, Percent]
    drop_pp: Points | None
    ci_pp: tuple[Points, Points] | None
    broken: int | None
    fixed: int | None
    flips: int | None

    @model_validator(mode="after")
    def _told(self) -> Answers:
        if len({value is None for value in (self.drop_pp, self.ci_pp, self.broken, self.fixed, self.flips)}) > 1:
            raise ValueError("a drop is told in part")
        return self


class Condition(Given):
    """A corruption at one severity; severity 0: the images as they are."""

    corruption: str
    severity: int = Field(ge=0, le=5)
    strength: tuple[Annotated[float, Field(ge=0, le=1e6)], ...]
    files: tuple[Answers, ...]


class Overall(Given):
    """One file over all corrupted conditions; intervals are null when there are too few images."""

    file: str
    top1: Percent
    top1_ci: tuple[Points, Points] | None
    drop_pp: Points | None
    ci_pp: tuple[Points, Points] | None
    excess_pp: Points | None
    excess_ci_pp: tuple[Points, Points] | None

    @model_validator(mode="after")
    def _told(self) -> Overall:
        if (self.drop_pp is None and self.ci_pp is not None) or (self.excess_pp is None and self.excess_ci_pp):
            raise ValueError("an interval of nothing")
        return self


class Robustness(Given):
    """The document of `robustness --json`."""

    schema_: Literal["edge-se/robustness/1"] = Field(alias="schema")
    split: str
    dataset: str
    n: int = Field(ge=1)
    seed: int
    confidence: float = Field(gt=0, lt=1)
    files: tuple[CorruptedFile, ...]
    conditions: tuple[Condition, ...]
    overall: tuple[Overall, ...]

    @model_validator(mode="after")
    def _whole(self) -> Robustness:
        """Checks that every condition is there once, also the clean one, and every file once under each, FP32 first."""
        files = [item.file for item in self.files]
        if len(set(files)) < len(files) or not self.files or self.files[0].label != "fp32":
            raise ValueError("its files must be FP32 and others, each once")
        tables: list[Sequence[Answers | Overall]] = [self.overall, *(condition.files for condition in self.conditions)]
        if any([row.file for row in table] != files for table in tables):
            raise ValueError("a condition lacks some of its files")
        told = [(item.corruption, item.severity) for item in self.conditions]
        if len(set(told)) < len(told) or [level for _, level in told].count(0) != 1 or told[0][1] != 0:
            raise ValueError("its conditions must be the clean images and others, each once")
        return self


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Logits (N, classes) of each file of a build on the labelled `images`."""

    images: Images
    logits: dict[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Material:
    """A build and what is known of it; None for unknown parts."""

    name: str
    build: Build
    predictions: Predictions | None = None
    statistics: Statistics | None = None


Kind = TypeVar("Kind", Bench, Sensitivity, Robustness)
COMMANDS: dict[type[Given], str] = {Bench: "bench", Sensitivity: "sensitivity", Robustness: "robustness"}


def read_given(kind: type[Kind], source: Path | Mapping[str, Any]) -> Kind:
    """The document of `kind`, from a file or as given; EdgeSeError when missing, of another kind or incomplete."""
    command = COMMANDS[kind]
    fix = f"give a file that `edge-se {command} --out FILE` wrote"
    where = source if isinstance(source, Path) else command
    try:
        return kind.model_validate(read_json(source, EdgeSeError, fix=fix) if isinstance(source, Path) else source)
    except ValidationError as invalid:
        raise EdgeSeError(first_problem(invalid), where=where, fix=fix) from None
