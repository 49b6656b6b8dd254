"""What a device is and which runtimes work on it."""

from __future__ import annotations

import platform
import re

import numpy as np

from .cuda import Cuda
from .errors import AgentError
from .jetson import is_jetson, l4t_version
from .packages import installed_version
from .power import power_sources
from .system import cpu_count, memory, read
from .tensorrt import load_tensorrt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BUILT = ("tensorrt", "tensorrt_rtx")  # these run on a GPU: they build an engine for one batch size and tell its layers
RUNTIMES = (*BUILT, "onnxruntime", "litert")


def processor_flags(root: str = "/") -> list[str]:
    """Instruction sets of this processor; empty when the system does not list them."""
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", read("/proc/cpuinfo", root) or "", re.MULTILINE)
    return flags.group(1).split() if flags else []


def describe(root: str = "/") -> dict[str, Any]:
    """Model, processor, memory, versions and which runtimes work here, with the reason for each that does not."""
    model = read("/proc/device-tree/model", root)
    info = read("/proc/cpuinfo", root) or ""
    name = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", info, re.MULTILINE)
    l4t = l4t_version(root)
    gpu, runtimes = None, {}  # type: dict[str, Any] | None, dict[str, dict[str, Any]]
    try:
        gpu = Cuda().device()
    except AgentError as error:
        gpu_reason = error.what
    for runtime in RUNTIMES:
        try:
            if runtime in ("onnxruntime", "litert"):
                runtimes[runtime] = {"version": installed_version(runtime)}
            else:
                version = load_tensorrt(runtime).module.__version__
                runtimes[runtime] = {"version": version} if gpu else {"version": version, "reason": gpu_reason}
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError)
            runtimes[runtime] = {"reason": "not installed" if missing else str(error)}
        except AgentError as error:
            runtimes[runtime] = {"reason": error.what, "fix": error.fix}
    return {"name": model or (name.group(1).strip() if name else platform.machine()),
            "jetson": is_jetson(root), "l4t": l4t, "machine": platform.machine(),
            "system": f"{platform.system()} {platform.release()}", "python": platform.python_version(),
            "numpy": np.__version__, "cpu": name.group(1).strip() if name else None, "cores": cpu_count(),
            "flags": processor_flags(root), "memory": memory("MemTotal", root),
            "gpu": gpu, "runtimes": runtimes, "power_sources": power_sources(root)}
