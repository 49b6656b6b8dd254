"""Boards as data: `bench/devices/*.toml`, validated once here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from edge_se.core.assets import asset
from edge_se.core.errors import EdgeSeError, did_you_mean
from edge_se.core.toml_files import Table, read_toml


class Figure(Table):
    """A peak figure and where it comes from."""

    value: float = Field(gt=0)
    kind: Literal["published", "computed", "recalled"]
    note: str = ""


class Mode(Table):
    """A power mode by nvpmodel's name: dense peaks of the GPU alone in 10^12 operations and 10^9 bytes a second.

    `gpu_mhz` is its largest GPU clock. Without `int8_tops` there is no estimate of INT8, and `without_int8` says why.
    """

    name: str
    gpu_mhz: Figure | None = None
    without_int8: str = "its GPU has no INT8 units"
    int8_tops: Figure | None = None
    fp16_tflops: Figure
    memory_gbs: Figure


class Board(Table):
    """One board; `tensorrt` is the version that its estimates are for."""

    name: str
    compute_capability: str
    tensorrt: str = Field(default="10", pattern=r"^\d+(\.\d+)*$")
    modes: tuple[Mode, ...] = Field(min_length=1)

    @property
    def strongly_typed(self) -> bool:
        """Whether its TensorRT takes every type from the file; older ones run in FP16 what INT8 leaves over."""
        return int(self.tensorrt.split(".")[0]) >= 10


def board_names() -> list[str]:
    """Names of the boards that are shipped."""
    return sorted(path.stem for path in asset("bench", "devices").glob("*.toml"))


def read_board(name: str) -> Board:
    """A shipped board by name, or the one in a .toml file; EdgeSeError with a suggestion, or the key that is wrong."""
    path = Path(name) if name.endswith(".toml") else asset("bench", "devices", f"{name}.toml")
    try:
        return read_toml(Board, path, EdgeSeError)
    except FileNotFoundError as missing:
        raise EdgeSeError(f"unknown board '{name}'", where="--estimate", fix=did_you_mean(
            name, board_names(), otherwise="give a .toml file like those in bench/devices")) from missing
