"""Settings of the gate, from a file and from the command line, which wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, StrictBool, ValidationError

from edge_se.core.errors import EdgeSeError
from edge_se.core.toml_files import Table, read_toml
from edge_se.evaluation.gate import ALPHA, preset_of

CONFIG = Path("bench/gate.toml")
MARGINS = ("max_drop", "preset")


class Settings(Table):
    """What is asked of the gate. None: not given. The margin is in percentage points, ratios are INT8 over FP32."""

    max_drop: float | None = Field(default=None, ge=0, le=100)
    preset: str | None = None
    alpha: float | None = Field(default=None, ge=1e-6, lt=0.5)
    sequential: StrictBool | None = None
    max_latency_ratio: float | None = Field(default=None, gt=0)
    max_size_ratio: float | None = Field(default=None, gt=0)
    min_int8_share: float | None = Field(default=None, ge=0, le=100)
    min_top1: float | None = Field(default=None, ge=0, le=100)  # percent

    @property
    def level(self) -> float:
        """The one-sided error rate: the given one, else that of the preset, else the usual one."""
        if self.alpha is not None:
            return self.alpha
        return preset_of(self.preset).alpha if self.preset else ALPHA

    def over(self, other: Settings) -> Settings:
        """These settings, filled up from the `other` ones.

        A margin here replaces both kinds of margin of the other. A preset also replaces the other alpha.
        """
        mine, rest = (settings.model_dump(exclude_none=True) for settings in (self, other))
        replaced: tuple[str, ...] = MARGINS if any(name in mine for name in MARGINS) else ()
        if self.preset:
            replaced = (*MARGINS, "alpha")
        rest = {name: value for name, value in rest.items() if name not in replaced}
        return Settings(**(rest | mine))


NOTHING = Settings()


def given(**values: Any) -> Settings:
    """Settings of the command line; EdgeSeError naming the option of a value out of range."""
    try:
        settings = Settings(**values)
    except ValidationError as invalid:
        problem = invalid.errors()[0]
        option = "--" + str(problem["loc"][0]).replace("_", "-")
        raise EdgeSeError(f"{problem['input']} is out of range", where=option,
                          fix=problem["msg"][:1].lower() + problem["msg"][1:]) from None
    _check(settings, "--max-drop and --preset")
    return settings


def read_settings(config: Path | None, wanted: Settings = NOTHING) -> tuple[Settings, str | None]:
    """`wanted` filled up from `config` (by default ./bench/gate.toml if it exists), and the file that was read.

    Raises EdgeSeError for an unreadable file, an unknown key (with a suggestion), two margins, and a `config` that
    does not exist.
    """
    path = config or CONFIG
    try:
        from_file = read_toml(Settings, path, EdgeSeError)
    except FileNotFoundError as missing:
        if config is None:
            return wanted, None
        raise EdgeSeError("no such file", where=path, fix="docs/gate.md says what it may hold") from missing
    _check(from_file, f"{path}: max_drop and preset")
    return wanted.over(from_file), str(path)


def _check(settings: Settings, where: str) -> None:
    if settings.preset:
        preset_of(settings.preset)
        if settings.max_drop is not None:
            raise EdgeSeError("both were given", where=where, fix="give one margin")
