"""TOML files that people write: validated once, at the border; a misspelled key gets a suggestion."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from edge_se.core.errors import EdgeSeError, did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Table(BaseModel):
    """A table of such a file. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Document = TypeVar("Document", bound=Table)


def read_toml(kind: type[Document], path: Path, error: type[EdgeSeError]) -> Document:
    """The document of `kind` in `path`; raises `error` naming the key and the fix, and FileNotFoundError."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # as Windows writes it
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as broken:
        raise error(f"not readable as TOML ({broken})", where=path) from broken
    try:
        return kind.model_validate(document)
    except ValidationError as invalid:
        raise error(_first_problem(kind, invalid), where=path) from None


def _first_problem(kind: type[Table], invalid: ValidationError) -> str:
    # A misspelled key that is required shows up as a missing one, too: the misspelling says more.
    problem = min(invalid.errors(), key=lambda error: error["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _kind_at(kind, problem["loc"][:-1]).model_fields
        return f"unknown key '{key}'; {did_you_mean(str(problem['loc'][-1]), known)}"
    if problem["type"] == "missing":
        fields = getattr(_kind_at(kind, problem["loc"]), "model_fields", {})
        required = " and ".join(name for name, field in fields.items() if field.is_required())
        return f"'{key}' is missing; add it{f', a table with {required}' if required else ''}"
    return f"'{key}': {problem['msg'][:1].lower()}{problem['msg'][1:]}, found {problem['input']!r}"


def _kind_at(table: type[BaseModel], path: tuple[int | str, ...]) -> Any:
    """The type of what is at `path` below `table`, of one item where there are several."""
    current: Any = table
    for part in path:
        if isinstance(part, int):
            continue
        annotation = current.model_fields[part].annotation
        arguments = getattr(annotation, "__args__", ())
        current = arguments[0] if arguments else annotation
    return current
