"""`gate` on several devices: each is judged by itself, and one that fails does not take the others with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from edge_se.backends.machines.choice import Place
from edge_se.core.errors import EdgeSeError
from edge_se.core.progress import SILENT, Progress
from edge_se.core.toml_files import Table, read_toml
from edge_se.evaluation.gate import SEVERITY
from edge_se.evaluation.limits import worst

FILE = ".toml"


class Board(Table):
    """`device`, `host` and `python` are those of the command line; `name` is shown instead of them."""

    device: str
    name: str | None = None
    host: str | None = None
    python: str | None = None


class Boards(Table):
    """A file of boards."""

    boards: tuple[Board, ...] = Field(min_length=1)


def places_of(devices: Sequence[str], host: str | None = None, python: str | None = None) -> list[Place]:
    """What `--device` names, given once or several times: devices and files of boards, in their order.

    Raises EdgeSeError for a file that does not hold, for two boards of one name and for a board that none can be: a
    mistake is told before the others are judged.
    """
    places = list[Place]()
    for device in devices:
        places += _boards(Path(device)) if device.endswith(FILE) else [Place(device=device, host=host, python=python)]
    names = [place.shown for place in places]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise EdgeSeError(f"'{twice}' is given twice", where="--device", fix="give each board a name of its own")
    for place in places:
        place.require_sensible()
    return places


def _boards(path: Path) -> list[Place]:
    try:
        return [Place(**board.model_dump()) for board in read_toml(Boards, path, EdgeSeError).boards]
    except FileNotFoundError as missing:
        raise EdgeSeError("no such file", where=path, fix="docs/jetson.md shows a file of boards") from missing


def gate_boards(places: Sequence[Place], gate: Callable[[Place], dict[str, Any]],
                progress: Progress = SILENT) -> dict[str, Any]:
    """The document of the worst board, with those of all under `boards` and the worst of all verdicts in `overall`.

    A board that fails has an `error` and counts as inconclusive: nothing was shown of it. Where all fail, the first
    error is raised.
    """
    boards, errors = list[dict[str, Any]](), list[EdgeSeError]()
    for place in places:
        try:
            boards.append({"name": place.shown, "document": gate(place)})
        except EdgeSeError as error:
            progress.note(f"{place.shown}: not judged: {error}")
            boards.append({"name": place.shown, "error": str(error)})
            errors.append(error)
    judged: list[dict[str, Any]] = [board["document"] for board in boards if "document" in board]
    if not judged:
        raise errors[0]
    top = max(judged, key=lambda document: SEVERITY[document["overall"]])
    return top | {"overall": worst([top["overall"], *["inconclusive"] * bool(errors)]), "boards": boards}


def require_one(places: Sequence[Place], **options: Any) -> None:
    """Raises EdgeSeError for an option, named as in Python, that is of one device."""
    given = next((f"--{name.replace('_', '-')}" for name, value in options.items() if value), None)
    if len(places) > 1 and given:
        raise EdgeSeError("is of one device", where=given, fix="judge them one after the other")
