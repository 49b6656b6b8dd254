"""The agent as the host's counterpart: answers requests until the host is gone."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading
import time
import traceback

import numpy as np

from .cache import IMAGES, Cache, cache_folder
from .conditions import state
from .cuda import Cuda
from .engines import builder_gpu, engine_of
from .errors import AgentError
from .facts import RUNTIMES, describe
from .fits import rewriting, unfit
from .frames import PROTOCOL, read_frame, write_frame
from .litert_runner import LiteRtRunner
from .lock import Lock
from .onnxruntime_runner import OnnxRuntimeRunner
from .preprocess import in_batches, of_document
from .sampling import idle, sampled
from .tensorrt import TensorRt, load_tensorrt
from .tensorrt_runner import TensorRtRunner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SILENCE_S = 60.0  # the host speaks every five seconds; after this long it is gone


class Server:
    """Answers one request after the other: {"op": ..., ...} with a payload -> {"ok": true, ...} or {"error": ...}.

    A host that reconnects opens its sessions again, so only files and engines outlive the connection.
    """

    def __init__(self, incoming: Any, outgoing: Any) -> None:
        self._in, self._out, self._writing = incoming, outgoing, threading.Lock()
        self._requests: queue.Queue[tuple[dict[str, Any], bytes] | None] = queue.Queue()
        self._cache: Cache | None = None
        self._lock: Lock | None = None
        self._sessions: dict[str, Any] = {}
        self._tensorrt: dict[str, tuple[TensorRt, Cuda]] = {}

    def serve(self) -> None:
        """Serves until the host says bye or is gone."""
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            request = self._requests.get()
            if request is None:
                return
            header, payload = request
            answer, content = self._answer(header, payload)
            with self._writing:
                write_frame(self._out, answer, content)
            if header.get("op") == "bye":
                return

    def _listen(self) -> None:
        """Reads until the host is gone. Any other end is answered, and ends the process with its lock."""
        try:
            self._hear()
        except BaseException as error:  # of a thread: nobody else would learn of it, and the host would wait for ever
            what = traceback.format_exc() if not isinstance(error, (ValueError, RecursionError, MemoryError)) else (
                f"what arrived is no request ({type(error).__name__}: {error})")
            with contextlib.suppress(Exception):
                if self._writing.acquire(timeout=1.0):  # an answer may be half written
                    write_frame(self._out, {"ok": False, "error": {"kind": "protocol", "what": what,
                                                                   "fix": "use the same version on both sides"}})
        finally:
            self._end(everything=False)

    def _hear(self) -> None:
        heard, waiting = time.monotonic(), True
        while waiting:
            if select.select([self._in], [], [], 5.0)[0]:
                frame = read_frame(self._in)
                if frame is None:
                    return
                heard = time.monotonic()
                if frame[0].get("op") == "abort":
                    self._end(everything=True)
                if frame[0].get("op") != "ping":
                    self._requests.put(frame)
            # A library that holds the interpreter, or a device that swaps, may have kept this thread from hearing.
            waiting = time.monotonic() - heard < SILENCE_S or bool(select.select([self._in], [], [], 0.0)[0])

    def _end(self, everything: bool) -> None:
        """Ends at once: the present work is for nobody, and may be inside a library for minutes."""
        try:
            if self._cache is not None:
                self._cache.sweep(everything)
        finally:
            os._exit(1)

    def _answer(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        operation = getattr(self, "_op_{}".format(header.get("op")), None)
        try:
            if operation is None:
                raise AgentError("protocol", "unknown request {!r}".format(header.get("op")),
                                 "use the same version on both sides")
            if self._lock is None and header["op"] != "hello":
                raise AgentError("protocol", "no hello before {!r}".format(header["op"]))
            answer, content = operation(header, payload)
            return dict(answer, ok=True), content
        except AgentError as error:
            return {"ok": False, "error": {"kind": error.kind, "what": error.what, "fix": error.fix}}, b""
        except MemoryError:
            return {"ok": False, "error": {"kind": "memory", "what": "the device is out of memory",
                                           "fix": "end other programs there, or use a smaller --batch"}}, b""
        except Exception:  # a bug, told with its traceback instead of a silent end
            return {"ok": False, "error": {"kind": "bug", "what": traceback.format_exc(), "fix": ""}}, b""

    def _op_hello(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        if header.get("protocol") != PROTOCOL:
            raise AgentError("protocol", f"the host speaks protocol {header.get('protocol')}, this agent "
                             f"{PROTOCOL}", "use the same version on both sides")
        self._cache = Cache(cache_folder())
        with self._cache.guarded():
            self._lock = Lock(self._cache.folder, str(header["token"]))
        return {"protocol": PROTOCOL, "pid": os.getpid(), "cache": self._cache.folder}, b""

    def _op_describe(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        return {"device": describe()}, b""

    def _op_state(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        return {"state": state()}, b""

    def _op_idle(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        return {"power": idle(float(header["seconds"]))}, b""

    def _op_has(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        return {"has": self._storage.has(str(header["sha256"]), str(header["kind"]))}, b""

    def _op_put(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        self._storage.append(str(header["sha256"]), int(header["offset"]), int(header["total"]), payload,
                             str(header["kind"]))
        return {}, b""

    def _op_open(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        name, runtime = str(header["session"]), str(header["runtime"])
        self._close(name)
        with open(self._storage.path(str(header["sha256"])), "rb") as file:
            content = file.read()
        if runtime == "onnxruntime":
            self._sessions[name] = OnnxRuntimeRunner(content, int(header["threads"]),
                                                     **rewriting(header.get("rules", ()), runtime))
            return {}, b""
        if runtime == "litert":
            axes = str(header.get("axes", "NCHW"))
            self._sessions[name] = runner = LiteRtRunner(content, int(header["threads"]), axes)
            return {"tells": runner.nodes()}, b""
        trt, cuda = self._loaded(runtime)
        reason = unfit(str(header["target"]), header.get("rules", ()), runtime,
                       version=trt.module.__version__, opset=header.get("opset"))
        if reason:
            raise AgentError("model", reason)
        engine, facts = engine_of(trt, builder_gpu(cuda), content, self._storage, precision=str(header["precision"]),
                                  batch=int(header["batch"]))
        self._sessions[name] = TensorRtRunner(trt, cuda, engine)
        return {"engine": facts}, b""

    def _op_run(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        logits = self._session(header).run(_images(header, payload))
        return {"shape": list(logits.shape)}, np.ascontiguousarray(logits, dtype="<f4").tobytes()

    def _op_answer(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """Logits of a shard of images that is here."""
        session = self._session(header)
        with open(self._storage.path(str(header["sha256"]), IMAGES), "rb") as file:
            pixels = np.frombuffer(file.read(), np.uint8).reshape([int(size) for size in header["shape"]])
        batches = in_batches(pixels, of_document(header["preprocessing"]), int(header["batch"]), bool(header["fixed"]))
        logits = np.concatenate([session.run(images)[:count] for images, count in batches])
        return {"shape": list(logits.shape)}, np.ascontiguousarray(logits, dtype="<f4").tobytes()

    def _op_time(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        session, images = self._session(header), _images(header, payload)
        plan = {key: header[key] for key in ("min_duration", "min_runs", "warmup")}
        timed = sampled(lambda: session.time(images, plan))
        content = np.asarray(timed.pop("ns"), dtype="<i8").tobytes()
        wall = timed.pop("wall_ns", None)
        return dict(timed, wall_ns=float(np.mean(wall)) if wall else None), content

    def _op_profile(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        session, images = self._session(header), _images(header, payload)
        return {"layers": session.layers(), "profile": session.profile(images, int(header["runs"]))}, b""

    def _op_close(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        self._close(str(header["session"]))
        return {}, b""

    def _op_bye(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        for name in list(self._sessions):
            self._close(name)
        self._storage.sweep(everything=True)
        return {}, b""

    @property
    def _storage(self) -> Cache:
        if self._cache is None:
            raise AgentError("protocol", "no hello yet")
        return self._cache

    def _session(self, header: dict[str, Any]) -> Any:
        if header.get("session") not in self._sessions:
            raise AgentError("protocol", "no session {!r}".format(header.get("session")))
        return self._sessions[header["session"]]

    def _close(self, name: str) -> None:
        session = self._sessions.pop(name, None)
        if session is not None:
            session.close()

    def _loaded(self, runtime: str) -> tuple[TensorRt, Cuda]:
        if runtime not in self._tensorrt:
            if runtime not in RUNTIMES:
                raise AgentError("protocol", f"unknown runtime {runtime!r}")
            self._tensorrt[runtime] = load_tensorrt(runtime), Cuda()
        return self._tensorrt[runtime]


def _images(header: dict[str, Any], payload: bytes) -> Any:
    """Float32, or uint8 for a model that takes pixels as they are."""
    kind = "|u1" if header.get("dtype") == "|u1" else "<f4"
    return np.frombuffer(payload, dtype=kind).reshape([int(size) for size in header["shape"]])
