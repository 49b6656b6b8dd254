"""Engines from the cache, or built now."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time

from .errors import AgentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .cache import Cache
    from .tensorrt import TensorRt


def engine_of(trt: TensorRt, gpu: dict[str, Any], content: bytes, cache: Cache, *, precision: str,
              batch: int) -> tuple[bytes, dict[str, Any]]:
    """The engine of an ONNX file from the cache, or built now; and its key, whether it was cached, and the seconds."""
    reason = trt.why_not(precision, gpu["capability"])
    if reason:
        raise AgentError("model", reason)
    tied = [hashlib.sha256(content).hexdigest(), trt.name, trt.module.__version__, gpu["name"], gpu["capability"],
            precision, batch]
    key = hashlib.sha256(json.dumps(tied).encode()).hexdigest()
    path, started = os.path.join(cache.engines, key + ".engine"), time.monotonic()
    facts = {"key": key, "cached": True, "seconds": 0.0}
    with contextlib.suppress(OSError):
        with open(path, "rb") as file:
            digest, _, engine = file.read().partition(b"\n")
        if hashlib.sha256(engine).hexdigest().encode() == digest:  # a damaged engine is built again
            os.utime(path)
            return engine, facts
    timing = os.path.join(cache.engines, f"{trt.name}-{trt.module.__version__}.timing")
    known = None
    with contextlib.suppress(OSError), open(timing, "rb") as file:
        known = file.read()
    workspace = min(1 << 30, int(gpu["free"]) // 2)
    engine, timed = trt.build(content, precision=precision, batch=batch, workspace=workspace, timing_cache=known)
    cache.write(path, hashlib.sha256(engine).hexdigest().encode() + b"\n" + engine)
    if timed:
        cache.write(timing, timed)
    return engine, dict(facts, cached=False, seconds=round(time.monotonic() - started, 3))
