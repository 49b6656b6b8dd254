"""Boards as data: `bench/devices/*.toml`, validated once here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_se.core.assets import asset
from edge_se.core.errors import EdgeSeError, did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Figure(_Table):
    """A peak figure and where it comes from."""

    value: float = Field(gt=0)
    kind: Literal["published", "computed", "recalled"]
    note: str = ""


class Mode(_Table):
    """A power mode: dense peaks of the GPU in 10^12 operations and 10^9 bytes a second; without `int8_tops` no INT8."""

    name: str
    int8_tops: Figure | None = None
    fp16_tflops: Figure
    memory_gbs: Figure


class Board(_Table):
    """One board."""

    name: str
    compute_capability: str
    modes: tuple[Mode, ...] = Field(min_length=1)


def board_names() -> list[str]:
    """Names of the boards that are shipped."""
    return sorted(path.stem for path in asset("bench", "devices").glob("*.toml"))


def read_board(name: str) -> Board:
    """A shipped board by name, or the one in a .toml file; EdgeSeError with a suggestion, or the key that is wrong."""
    path = Path(name) if name.endswith(".toml") else asset("bench", "devices", f"{name}.toml")
    if not path.is_file():
        raise EdgeSeError(f"unknown board '{name}'", where="--estimate",
                          fix=f"{did_you_mean(name, board_names())}, or give a .toml file like those in bench/devices")
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return Board.model_validate(content)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as broken:
        raise EdgeSeError(f"not readable as TOML ({broken})", where=path) from broken
    except ValidationError as invalid:
        first = invalid.errors()[0]
        raise EdgeSeError(f"{'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}", where=path,
                          fix="see the files in bench/devices") from invalid
