"""Other tools, each in a folder of its own that stands in front of this environment's onnx, onnxruntime and torch.

`light-TOOL.txt` names a tool and those of its dependencies that its quantizing imports. The folders lie under
$EDGE_SE_CACHE/peers and are made on first use.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from edge_se.core.assets import cache_dir

HERE = Path(__file__).resolve().parent
SECONDS = 1800  # for a tool


def installed(tool: str) -> Path:
    """The folder that holds a tool, made on first use."""
    folder, requirements = cache_dir() / "peers" / f"light-{tool}", HERE / f"light-{tool}.txt"
    done = folder / ".installed"
    if not done.is_file() or done.read_text() != requirements.read_text():
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--no-deps", "--target", folder,
                        "-r", requirements], check=True)
        done.write_text(requirements.read_text())
    return folder


def version(package: str, tool: str | None) -> str:
    """Of a package in the folder of `tool`, else in this environment."""
    folder = [str(installed(tool))] if tool else []
    found = next(iter(metadata.distributions(name=package, path=folder)), None) if folder else None
    return found.version if found is not None else metadata.version(package)


def with_tool(tool: str | None) -> dict[str, str]:
    """The environment variables of a process that imports `tool`, and edge-se from this checkout."""
    paths = [str(installed(tool))] if tool else []
    return os.environ | {"PYTHONPATH": os.pathsep.join([*paths, str(HERE.parents[1])])}


def quantized(peer: str, tool: str | None, folder: Path, out: Path) -> str | None:
    """Runs `quantize.py` on fp32.onnx and calibration.npy of `folder`; its last line where it wrote no file."""
    command = [sys.executable, str(HERE / "quantize.py"), peer, str(folder / "fp32.onnx"),
               str(folder / "calibration.npy"), str(out)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, env=with_tool(tool))
    if done.returncode == 0 and out.is_file():
        json.loads(done.stdout.splitlines()[-1])
        return None
    return (done.stderr.strip().splitlines() or ["no word"])[-1][:200]
