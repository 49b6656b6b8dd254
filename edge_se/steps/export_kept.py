"""What an export that was interrupted leaves, and how it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_se.core.artifacts import BUILDS, MANIFEST
from edge_se.steps.export_options import CANDIDATES, FILES


def what_is_kept(out: Path | None) -> Callable[[], str]:
    """Words for an interrupt after this call; without `out` the build is one of those below ./build."""
    before = _times(out)

    def words() -> str:
        new = [path for path, time in _times(out).items() if before.get(path) != time]
        whole = {path.parent for path in new if path.name == MANIFEST}
        logs = [path for path in new if path.match(CANDIDATES)]
        mixed = {path.parent for path in new if path not in logs} - whole
        said = [*(f"{folder} is written, and whole" for folder in sorted(whole)),
                *(f"{folder} holds files of this export beside those of another" for folder in sorted(mixed))]
        said = said or ["nothing was written: a build of before is as it was"]
        said += [f"{log} keeps the candidates that were measured" for log in logs]
        return f"{'; '.join(said)}. The same command goes on: what was evaluated comes from the cache"
    return words


def _times(out: Path | None) -> dict[Path, int]:
    """When each file of the builds was written, in nanoseconds."""
    folders = [out] if out else sorted(path for path in BUILDS.glob("*") if path.is_dir())
    return {path: path.stat().st_mtime_ns for folder in folders for pattern in (MANIFEST, *FILES, CANDIDATES)
            for path in folder.glob(pattern)}
