"""Memory and first times of one file in one runtime, in a process that does nothing else.

    python -m edge_se.backends.fresh '{"backend": ..., "file": ..., "precision": ..., "target": ..., "threads": ...,
                                       "shape": [1, 3, 32, 32], "dtype": "float32"}'

prints one JSON object:

peak_memory_bytes   largest resident size from the runtime's import on, through loading and three inferences
model_memory_bytes  the same above the resident size after the imports and before the file is read
load_ms             from the file's bytes in memory to a session that can run; OpenVINO compiles here
first_ms            the first inference; torch.compile compiles here, from its cache on disk where it has one
"""

from __future__ import annotations

import gc
import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any

from edge_se.backends.base import Device
from edge_se.backends.table import BACKENDS
from edge_se.core.children import run_module
from edge_se.core.errors import UnavailableError
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.trial import random_input

TIMEOUT_S = 600.0
FIELDS = ("peak_memory_bytes", "model_memory_bytes", "load_ms", "first_ms")


def measure_fresh(backend: str, model: OnnxModel, *, threads: int, shape: Sequence[int],
                  dtype: str = "float32") -> dict[str, float | int | None]:
    """FIELDS of one file in a new process; UnavailableError with its last line where it fails."""
    with TemporaryDirectory(prefix="edge-se-") as folder:
        file = Path(folder) / model.file_name
        file.write_bytes(BACKENDS[backend].read_part(model).content)
        request = {"backend": backend, "file": str(file), "precision": model.precision, "target": model.target,
                   "threads": threads, "shape": list(shape), "dtype": dtype}
        answer = _asked(request)
    return {name: answer[name] for name in FIELDS}


def _asked(request: Mapping[str, Any]) -> dict[str, float | int | None]:
    ended = run_module("edge_se.backends.fresh", json.dumps(request), timeout=TIMEOUT_S)
    failure = ended.failure or (None if ended.out.strip() else "no word")
    if failure is not None:
        raise UnavailableError(f"{request['backend']} failed in a fresh process ({failure})", where="--fresh",
                               fix="use --no-fresh")
    answer: dict[str, float | int | None] = json.loads(ended.out.strip().splitlines()[-1])
    return answer


def measured(request: Mapping[str, Any]) -> dict[str, float | int | None]:
    """The part that runs in the new process."""
    backend = BACKENDS[request["backend"]]
    images = random_input(request["shape"], request.get("dtype", "float32"))
    import_module(backend.module)
    gc.collect()
    before = _resident("VmRSS")
    _forget_peak()
    model = OnnxModel(content=Path(request["file"]).read_bytes(), precision=request["precision"],
                      target=request["target"])
    start = perf_counter_ns()
    with backend.open(model, Device(threads=request["threads"])) as session:
        session.prepare(images)
        loaded = perf_counter_ns()
        session.run(images)
        ran = perf_counter_ns()
        for _ in range(2):
            session.run(images)
        peak = _resident("VmHWM")
    return {"peak_memory_bytes": peak, "load_ms": (loaded - start) / 1e6, "first_ms": (ran - loaded) / 1e6,
            "model_memory_bytes": None if peak is None or before is None else peak - before}


def _resident(field: str) -> int | None:
    """VmRSS (now) or VmHWM (the peak) of this process in bytes; None where the kernel is not Linux.

    `getrusage` cannot be used: its peak is inherited from the process that started this one.
    """
    with suppress(OSError):
        match = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(match[1]) * 1024 if match else None
    return None


def _forget_peak() -> None:
    """Sets the peak to what is resident now, so that what an import held for a moment does not count."""
    with suppress(OSError):  # some sandboxes forbid it; the peak then is that of the whole process
        Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    print(json.dumps(measured(json.loads(sys.argv[1]))))
