"""What a page loads: the agent's scripts, which come with edge-se, and onnxruntime-web, which the user installs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from edge_se import device
from edge_se.core.errors import UnavailableError

SCRIPTS = Path(device.__file__).parent / "web"
PAGE = SCRIPTS / "page.html"
VARIABLE = "EDGE_SE_WEB_RUNTIME"
INSTALLED = Path("node_modules", "onnxruntime-web")
TYPES = {".html": "text/html; charset=utf-8", ".mjs": "text/javascript; charset=utf-8", ".wasm": "application/wasm"}
_NEEDED = "ort.wasm.bundle.min.mjs"
_INSTALL = "`npm install onnxruntime-web` here, or name the folder of one that is installed with --web-runtime"


def find_runtime(given: Path | None) -> Path:
    """The folder with onnxruntime-web's built files: `given`, $EDGE_SE_WEB_RUNTIME, or ./node_modules.

    UnavailableError where it is not. Nothing is downloaded.
    """
    named = given or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    place = named or INSTALLED
    for folder in (place / "dist", place):
        if (folder / _NEEDED).is_file():
            return folder.resolve()
    if named is None:
        raise UnavailableError(f"onnxruntime-web is in neither --web-runtime, ${VARIABLE} nor {INSTALLED}",
                               where="--device web", fix=_INSTALL)
    where = "--web-runtime" if given else f"${VARIABLE}"
    raise UnavailableError(f"{named} is no onnxruntime-web: it has no dist/{_NEEDED}", where=where, fix=_INSTALL)


def served(runtime: Path) -> Mapping[str, Path]:
    """The file of every path that a page may load: its scripts, and those of onnxruntime-web that it can run."""
    own = {f"/web/{path.name}": path for path in SCRIPTS.glob("*.mjs")}
    theirs = {f"/ort/{path.name}": path for pattern in ("ort.*.bundle.min.mjs", "*.wasm")
              for path in runtime.glob(pattern)}
    return own | theirs


def sha256() -> str:
    """The hash of the agent's scripts."""
    digest = hashlib.sha256()
    for path in sorted(SCRIPTS.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
