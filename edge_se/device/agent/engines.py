"""Engines from the cache, or built now."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time

from .clocks import gpu_ceiling
from .errors import AgentError
from .system import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .cache import Cache
    from .cuda import Cuda
    from .tensorrt import TensorRt

WORKSPACE = 1 << 30  # bytes that a tactic may take while it runs; a quarter of the memory where that is less


def builder_gpu(cuda: Cuda) -> dict[str, Any]:
    """What an engine is tied to: the GPU, its module, and its highest clock in this power mode."""
    return dict(cuda.device(), module=read("/proc/device-tree/model"), ceiling_hz=gpu_ceiling())


def engine_of(trt: TensorRt, gpu: dict[str, Any], content: bytes, cache: Cache, *, precision: str, batch: int,
              target: str = "any", begins: Callable[[], object] | None = None) -> tuple[bytes, dict[str, Any]]:
    """The engine of an ONNX file, from the cache or built now, with its key, whether it was cached, and the seconds.

    `begins` is called before one is built, which takes minutes.

    An engine that was built while memory was short is not kept, nor are its timings: TensorRT leaves out kernels that
    do not fit, so a later build may be faster. `skipped_tactics` says how many it left out, `workspace` and
    `workspace_wanted` how many bytes a kernel could and should have had, `kept` whether the next run finds it. The key
    holds all that TensorRT times kernels for: every Orin calls its GPU "Orin", whatever its processors, memory and
    clocks.
    """
    reason = trt.why_not(precision, gpu["capability"])
    if reason:
        raise AgentError("model", reason)
    memory = int(gpu.get("memory") or 0)
    wanted = min(WORKSPACE, memory // 4) if memory else WORKSPACE
    tied = [hashlib.sha256(content).hexdigest(), trt.name, trt.module.__version__, precision, target, batch, wanted,
            *(gpu.get(name) for name in ("name", "capability", "processors", "memory", "module", "ceiling_hz"))]
    key = hashlib.sha256(json.dumps(tied).encode()).hexdigest()
    path, started = os.path.join(cache.engines, key + ".engine"), time.monotonic()
    facts = {"key": key, "cached": True, "seconds": 0.0}
    with contextlib.suppress(OSError):
        with open(path, "rb") as file:
            digest, _, engine = file.read().partition(b"\n")
        if hashlib.sha256(engine).hexdigest().encode() == digest:  # a damaged engine is built again
            os.utime(path)
            return engine, facts
    timing = os.path.join(cache.engines, _timings_of(trt, tied))
    known = None
    with contextlib.suppress(OSError), open(timing, "rb") as file:
        known = file.read()
    workspace = min(wanted, int(gpu["free"]) // 2)
    if begins is not None:
        begins()
    engine, timed = trt.build(content, precision=precision, batch=batch, workspace=workspace, timing_cache=known)
    skipped = int(getattr(trt, "skipped_tactics", 0))
    kept = workspace == wanted and not skipped
    if kept:
        cache.write(path, hashlib.sha256(engine).hexdigest().encode() + b"\n" + engine)
        if timed:
            cache.write(timing, timed)
    return engine, dict(facts, cached=False, seconds=round(time.monotonic() - started, 3), kept=kept,
                        skipped_tactics=skipped, workspace=workspace, workspace_wanted=wanted)


def _timings_of(trt: TensorRt, tied: list[Any]) -> str:
    """The file of the kernels' times, for one version on one GPU at one clock; all models share it."""
    place = hashlib.sha256(json.dumps(tied[6:]).encode()).hexdigest()[:16]
    return f"{trt.name}-{trt.module.__version__}-{place}.timing"
