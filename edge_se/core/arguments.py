"""What the functions of the Python API take: a path as `str` or `pathlib.Path`, names as one text or several."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Union, overload

from edge_se.core.errors import EdgeSeError

PathLike = Union[str, Path]
Names = Union[str, Iterable[str]]


@overload
def path_of(value: PathLike) -> Path: ...
@overload
def path_of(value: PathLike | None) -> Path | None: ...
def path_of(value: PathLike | None) -> Path | None:
    """`value` as a path; EdgeSeError when it is not one."""
    if value is None:
        return None
    if not isinstance(value, (str, Path)):
        raise EdgeSeError(f"{value!r:.60} is no path", fix="give a str or a pathlib.Path")
    return Path(value)


@overload
def text_of(value: PathLike) -> str: ...
@overload
def text_of(value: PathLike | None) -> str | None: ...
def text_of(value: PathLike | None) -> str | None:
    """`value` as text, for arguments that take a name or a path."""
    return value if isinstance(value, str) or value is None else str(path_of(value))


def names_of(value: Names | None) -> list[str] | None:
    """The names of `"cpu,arm"` or of `["cpu", "arm"]`; None where nothing was given."""
    if value is None:
        return None
    parts = value.split(",") if isinstance(value, str) else list(value)
    for part in parts:
        if not isinstance(part, str):
            raise EdgeSeError(f"{part!r:.60} is no name", fix="give one text, or a list of texts")
    return [part.strip() for part in parts if part.strip()]
