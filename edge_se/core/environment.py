"""What a figure was measured on: versions, processor, commit. Cheap: nothing heavy is imported."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import edge_se

PACKAGES = ("numpy", "onnx", "onnxruntime", "torch", "torchvision", "onnxscript", "openvino", "tensorrt",
            "tensorrt-rtx", "opencv-python", "opencv-python-headless", "ai-edge-litert")
# Flags that decide which INT8 and BF16 kernels a runtime picks.
_TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16",
                  "asimddp", "i8mm", "bf16")
MOST_PROCESSORS = "EDGE_SE_PROCESSORS"  # a variable: what this process may use of the processors that it sees


@cache
def version_of(package: str) -> str | None:
    """The installed version of a distribution, else of one that brings the module of this name instead; or None.

    onnxruntime, for one, also comes as onnxruntime-gpu, -openvino and -directml.
    """
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    module = package.replace("-", "_")
    others = metadata.packages_distributions().get(module, ()) if importable(module) else ()
    return metadata.version(min(others)) if others else None


def importable(module: str) -> bool:
    """Whether a package is installed; nothing is imported to find out.

    A folder of its name without a package in it (type stubs, somebody's models) is none, though Python imports it.
    """
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):  # an import hook that hides it
        return False
    return spec is not None and spec.origin is not None


@cache
def versions() -> dict[str, str]:
    """Versions of edge-se, Python and the installed PACKAGES."""
    own = {"edge-se": edge_se.__version__, "python": platform.python_version()}
    return own | {name: version for name in PACKAGES if (version := version_of(name))}


@cache
def _cpuinfo() -> tuple[str, frozenset[str]]:
    """(processor name, its flags) as Linux tells them; elsewhere the platform's name and no flags."""
    name, flags = platform.processor() or platform.machine(), frozenset[str]()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = frozenset(value.split())
                break
    except OSError:
        pass
    return name, flags


def processor_flags() -> frozenset[str]:
    """All instruction sets of this processor; empty where the system does not list them."""
    return _cpuinfo()[1]


def cpu_flags() -> tuple[str, ...]:
    """The instruction sets of this processor that matter to INT8 and BF16."""
    return tuple(flag for flag in _TELLING_FLAGS if flag in _cpuinfo()[1])


def has_fast_int8() -> bool:
    """Whether the processor multiplies 8-bit integers at full speed (VNNI, AMX or Arm dot product)."""
    return any(flag in cpu_flags() for flag in ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"))


def has_fast_bf16() -> bool:
    """Whether the processor multiplies bfloat16 at full speed."""
    return any(flag in cpu_flags() for flag in ("avx512_bf16", "amx_bf16", "bf16"))


def cpu_count() -> int:
    """Processors that this process may use; $EDGE_SE_PROCESSORS bounds them for workers that share a machine."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = os.environ.get(MOST_PROCESSORS, "")
    return min(here, int(most)) if most.isdecimal() and int(most) else here


def hardware() -> dict[str, object]:
    """Processor, cores, the flags that matter and the operating system."""
    return {"cpu": _cpuinfo()[0], "cores": cpu_count(), "flags": list(cpu_flags()),
            "machine": platform.machine(), "system": f"{platform.system()} {platform.release()}"}


@cache
def commit() -> str | None:
    """The commit of the checkout this code runs from (`+` appended when it has local changes), else None."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True,
                          timeout=10).stdout.strip()
