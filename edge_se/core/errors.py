"""Every error that a user can fix.

EdgeSeError                 exit 2: one message that says what, where and the fix
├── DataError               images or labels missing, truncated or altered
├── RecipeError             a TOML recipe that does not validate
├── ModelError              a model that is unknown, unreadable or cannot be handled
├── ArtifactError           a build folder, manifest or hash that does not hold
├── CalibrationError        a calibration set that may not or cannot be used
├── UnavailableError        an optional package, device or backend that is not here
└── TrainingError           training that cannot go on (NaN loss, foreign checkpoint)

Anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any


class EdgeSeError(Exception):
    """A failure that its reader can fix: `where: what; fix`."""

    def __init__(self, what: str, *, where: str | Path | None = None, fix: str | None = None) -> None:
        self.what, self.where, self.fix = what, where, fix
        message = f"{where}: {what}" if where is not None else what
        super().__init__(f"{message}; {fix}" if fix else message)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its parts: a worker's error says here what it said there."""
        return partial(type(self), where=self.where, fix=self.fix), (self.what,)


class DataError(EdgeSeError):
    """Images or labels are missing, truncated or altered."""


class RecipeError(EdgeSeError):
    """A recipe does not validate."""


class ModelError(EdgeSeError):
    """A model is unknown, unreadable or cannot be handled."""


class ArtifactError(EdgeSeError):
    """A build folder, manifest or hash does not hold."""


class CalibrationError(EdgeSeError):
    """A calibration set may not or cannot be used."""


class UnavailableError(EdgeSeError):
    """An optional package, device or backend is not here."""


class TrainingError(EdgeSeError):
    """Training cannot go on."""


def did_you_mean(word: str, known: Iterable[str], *, listing: str | None = None, otherwise: str | None = None) -> str:
    """`did you mean 'x'?`, or the list of what is known when nothing is near and no single name begins with the word.

    Of more names than fit a line `listing` says what lists them; then up to three near ones are named. `otherwise` says
    what may be given instead of a name.
    """
    names = sorted(known)
    begun = [name for name in names if word and name.startswith(word)]
    near = [f"'{name}'" for name in get_close_matches(word, names, n=3 if listing else 1, cutoff=0.6)
            or (begun if len(begun) == 1 else [])]
    meant = f"did you mean {near[0]}?" if near else ""
    if listing:
        also = f" Near are also {' and '.join(near[1:])};" if near[1:] else ""
        return f"{meant}{also} {listing} lists all {len(names)}".lstrip()
    if meant:
        return f"{meant} Or {otherwise}" if otherwise else meant
    return f"known: {', '.join(names)}" + (f"; or {otherwise}" if otherwise else "")
