"""The agent as it goes to a device: its package as one zipapp, the same bytes from the same sources everywhere."""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cache
from pathlib import Path

from edge_se.device import agent

NAME = "agent.pyz"
_START = b"""import sys

if sys.version_info < (3, 8):
    sys.exit("error: python3 here is %d.%d; the agent needs 3.8 or later" % sys.version_info[:2])
from agent.main import main

sys.exit(main())
"""
_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a ZIP file can tell; a real one would change the hash


@cache
def zipapp() -> bytes:
    """What `python3 agent.pyz` runs, with the package as `agent`.

    The standard library's `zipapp` writes the sources' times and the folder's order, so one source would have many
    hashes. Nothing is compressed: what zlib makes depends on its version.
    """
    folder = Path(agent.__file__).parent
    files = {f"agent/{path.name}": path.read_bytes() for path in sorted(folder.glob("*.py"))}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, text in {"__main__.py": _START, **files}.items():
            entry = zipfile.ZipInfo(name, _NO_TIME)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # as on Unix, wherever it is written
            archive.writestr(entry, text)
    return content.getvalue()


def sha256() -> str:
    """The hash of `zipapp()`."""
    return hashlib.sha256(zipapp()).hexdigest()
