"""The device's side of edge-se: one file that describes a device and builds, runs and measures models there.

Copied over SSH, put into a bundle, and imported by edge-se itself, so that every figure is taken by the same code.
Needs Python 3.8, numpy and a runtime that the device has: TensorRT (8.5 to 11), TensorRT for RTX or onnxruntime. CUDA
is called through ctypes, since a Jetson has its library and no Python package for it.

    python3 agent.py describe    what this device is and can, as JSON
    python3 agent.py sample S    power, clocks and temperatures every S seconds, a JSON object a line
    python3 agent.py serve       requests on stdin, answers on stdout: see Server
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import ctypes.util
import errno
import fcntl
import glob
import hashlib
import json
import math
import os
import platform
import queue
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

PROTOCOL = 1
MAGIC = b"edge-se-agent/1\n"  # what comes before it on stdout is a login shell's chatter
SILENCE_S = 60.0  # the host speaks every five seconds; after this long it is gone
ENGINES_BYTES = 2 << 30  # engines kept for the next run, newest first
CHUNK, LARGEST = 1 << 20, 1 << 30  # bytes of a file's part, of a frame
SAMPLE_S = 0.05
TEMPORARY = ".edge-se-"
RUNTIMES = ("tensorrt", "tensorrt_rtx", "onnxruntime")


class AgentError(Exception):
    """What went wrong and what mends it; `kind` is for programs.

    It is full, busy, model, image, runtime, cuda, protocol or bug.
    """

    def __init__(self, kind: str, what: str, fix: str = "") -> None:
        super().__init__(f"{what}; {fix}" if fix else what)
        self.kind, self.what, self.fix = kind, what, fix


# ---------------------------------------------------------------------------------------------------------- timing

def sample_durations(call: Callable[[], object], min_duration: float, min_runs: int, warmup: float) -> list[int]:
    """Nanoseconds of each run of `call` for at least `min_duration` seconds and `min_runs` runs, after `warmup` s."""
    clock = time.perf_counter_ns
    warm = clock() + int(warmup * 1e9)
    call()
    while clock() < warm:
        call()
    samples: list[int] = []
    end = clock() + int(min_duration * 1e9)
    before = clock()
    while len(samples) < min_runs or before < end:
        before = clock()
        call()
        after = clock()
        samples.append(after - before)
        before = after
    return samples


# ------------------------------------------------------------------------------------------------------ onnxruntime

class OnnxRuntimeRunner:
    """A model in onnxruntime on the CPU; `threads` 0 means all processors."""

    def __init__(self, content: bytes, threads: int, target: str = "any") -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise AgentError("runtime", f"onnxruntime cannot be imported ({error})",
                             "pip install onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or cpu_count()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if target == "tensorrt-fp16":
            # Its fusions multiply two FP16 scales into one that FP16 cannot hold; TensorRT does so in FP32.
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # Spinning threads between runs would take the processor from whatever is measured next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if threads == 1 else "0")
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions share no base class
            raise AgentError("model", "onnxruntime cannot load it "
                             f"({str(error).splitlines()[0]})", "export again") from error
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name

    def run(self, images: Floats) -> Floats:
        """Normalised images (N, 3, H, W) -> logits (N, classes)."""
        return np.asarray(self._session.run([self._output], {self._input: images})[0], dtype=np.float32)

    def time(self, images: Floats, plan: dict[str, Any]) -> dict[str, Any]:
        """Wall time of `session.run`, input and output copies included: {"ns": [...]}."""
        feed, outputs, run = {self._input: images}, [self._output], self._session.run
        return {"ns": sample_durations(lambda: run(outputs, feed), **plan)}

    def close(self) -> None:
        """Frees the session."""
        del self._session


# ------------------------------------------------------------------------------------------------------------- CUDA

_HANDLE, _SIZE = ctypes.c_void_p, ctypes.c_size_t
_CUDA_CALLS = {
    "cudaGetDeviceCount": [ctypes.POINTER(ctypes.c_int)], "cudaRuntimeGetVersion": [ctypes.POINTER(ctypes.c_int)],
    "cudaDeviceGetAttribute": [ctypes.POINTER(ctypes.c_int), ctypes.c_int, ctypes.c_int],
    "cudaMemGetInfo": [ctypes.POINTER(_SIZE), ctypes.POINTER(_SIZE)],
    "cudaMalloc": [ctypes.POINTER(_HANDLE), _SIZE], "cudaFree": [_HANDLE],
    "cudaMallocHost": [ctypes.POINTER(_HANDLE), _SIZE], "cudaFreeHost": [_HANDLE],
    "cudaMemcpyAsync": [_HANDLE, _HANDLE, _SIZE, ctypes.c_int, _HANDLE],
    "cudaStreamCreate": [ctypes.POINTER(_HANDLE)], "cudaStreamSynchronize": [_HANDLE], "cudaStreamDestroy": [_HANDLE],
    "cudaStreamBeginCapture": [_HANDLE, ctypes.c_int], "cudaStreamEndCapture": [_HANDLE, ctypes.POINTER(_HANDLE)],
    "cudaGraphInstantiateWithFlags": [ctypes.POINTER(_HANDLE), _HANDLE, ctypes.c_ulonglong],  # CUDA 11.4 and later
    "cudaGraphLaunch": [_HANDLE, _HANDLE], "cudaGraphExecDestroy": [_HANDLE], "cudaGraphDestroy": [_HANDLE],
    "cudaEventCreate": [ctypes.POINTER(_HANDLE)], "cudaEventRecord": [_HANDLE, _HANDLE],
    "cudaEventSynchronize": [_HANDLE], "cudaEventDestroy": [_HANDLE],
    "cudaEventElapsedTime": [ctypes.POINTER(ctypes.c_float), _HANDLE, _HANDLE],
}
_TO_DEVICE, _TO_HOST, _CAPTURE_THREAD_LOCAL = 1, 2, 1
_MAJOR, _MINOR = 75, 76  # cudaDevAttrComputeCapabilityMajor and -Minor


class Cuda:
    """CUDA's runtime library as it lies on the device; every failed call is an AgentError in CUDA's own words."""

    def __init__(self, library: str | None = None) -> None:
        self._library = _load_cudart(library)
        for name, arguments in _CUDA_CALLS.items():
            function = getattr(self._library, name, None)
            if function is not None:
                function.argtypes, function.restype = arguments, ctypes.c_int
        self._library.cudaGetErrorString.restype = ctypes.c_char_p

    def call(self, name: str, *arguments: Any) -> None:
        """Calls one function of the library."""
        function = getattr(self._library, name, None)
        if function is None:
            raise AgentError("cuda", f"this CUDA has no {name}", "update JetPack or CUDA to 11.4 or later")
        code = function(*arguments)
        if code != 0:
            raise AgentError("cuda", f"{name}: {self._library.cudaGetErrorString(code).decode()} (CUDA error {code})")

    def made(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """The handle that a creating function returns through its first argument."""
        handle = _HANDLE()
        self.call(name, ctypes.byref(handle), *arguments)
        return handle

    def number(self, name: str, *arguments: Any) -> int:
        """The integer that a function returns through its first argument."""
        value = ctypes.c_int()
        self.call(name, ctypes.byref(value), *arguments)
        return value.value

    def device(self) -> dict[str, Any]:
        """Name, compute capability and memory of device 0, and the version of CUDA."""
        if self.number("cudaGetDeviceCount") < 1:
            raise AgentError("cuda", "no CUDA device")
        properties = ctypes.create_string_buffer(1 << 16)  # the name is its first member in every version
        getter = getattr(self._library, "cudaGetDeviceProperties_v2", None) or self._library.cudaGetDeviceProperties
        getter.restype = ctypes.c_int
        if getter(properties, 0) != 0:
            raise AgentError("cuda", "the properties of CUDA device 0 cannot be read")
        free, total = _SIZE(), _SIZE()
        self.call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        version = self.number("cudaRuntimeGetVersion")
        capability = [self.number("cudaDeviceGetAttribute", key, 0) for key in (_MAJOR, _MINOR)]
        return {"name": properties.value.decode("utf-8", "replace"), "capability": capability,
                "cuda": f"{version // 1000}.{version % 1000 // 10}", "memory": total.value, "free": free.value}


def _load_cudart(library: str | None) -> Any:
    wheels = [os.path.join(folder, "nvidia", "c*", "lib", "libcudart.so*") for folder in sys.path if folder]
    names = [library] if library else [
        "libcudart.so", *(f"libcudart.so.{version}" for version in ("13", "12", "11.0")),
        *sorted(glob.glob("/usr/local/cuda*/lib64/libcudart.so*"), reverse=True),
        *(path for pattern in wheels for path in sorted(glob.glob(pattern), reverse=True))]
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise AgentError("cuda", "libcudart.so was not found", "install CUDA (on a Jetson: `sudo apt install "
                     "nvidia-jetpack`), or add its lib64 folder to LD_LIBRARY_PATH")


# --------------------------------------------------------------------------------------------------------- TensorRT

class TensorRt:
    """Every difference between TensorRT 8.5, 8.6, 10, 11 and TensorRT for RTX, in one place.

    8.x takes precision from flags and needs EXPLICIT_BATCH; from 10 on networks are strongly typed, so that types come
    from the graph; 11 and RTX know nothing else. `module` is the imported package.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.name = "tensorrt_rtx" if "rtx" in module.__name__ else "tensorrt"
        self.version = tuple(int(part) for part in re.findall(r"\d+", module.__version__)[:3])
        if self.name == "tensorrt" and self.version < (8, 5):
            raise AgentError("runtime", f"TensorRT {module.__version__} is older than 8.5", "update to JetPack 5.1")
        self.messages: list[str] = []
        self.logger = self._logger()

    @property
    def strongly_typed(self) -> bool:
        """Whether types come from the graph instead of from flags."""
        return self.name == "tensorrt_rtx" or self.version >= (10,)

    def creation_flags(self) -> int:
        """What `create_network` takes: the flag of this version, 0 where it has none because there is no choice."""
        flags = self.module.NetworkDefinitionCreationFlag
        name = "STRONGLY_TYPED" if self.strongly_typed else "EXPLICIT_BATCH"
        return 1 << int(getattr(flags, name)) if hasattr(flags, name) else 0

    def precision_flags(self, precision: str) -> list[str]:
        """Names of the builder flags for `precision`: below strong typing only."""
        wanted = {"fp32": [], "fp16": ["FP16"], "int8": ["FP16", "INT8"]}[precision]
        return [] if self.strongly_typed else wanted

    def why_not(self, precision: str, target: str, capability: Iterable[int] | None) -> str | None:
        """Why this version on a GPU of `capability` cannot take a file, or None."""
        if target not in ("any", "tensorrt", "tensorrt-fp16"):
            return f"written for {target}, not for TensorRT"
        if target == "tensorrt-fp16" and not self.strongly_typed:
            return f"its FP16 scales need TensorRT 10 or later; here is {self.module.__version__}"
        if precision == "int8" and capability is not None and tuple(capability) in ((5, 3), (6, 0), (6, 2)):
            return "this GPU (compute capability {}.{}) has no INT8; deploy FP16".format(*capability)
        return None

    def build(self, content: bytes, *, precision: str, batch: int, workspace: int = 1 << 30,
              timing_cache: bytes | None = None, capability: str | None = None) -> tuple[bytes, bytes | None]:
        """(engine, timing cache or None) of an ONNX file for one batch size; AgentError in the parser's words.

        `capability` ("SM86") builds ahead of time for a GPU that is not here, which only TensorRT for RTX can.
        """
        self.messages.clear()
        trt = self.module
        builder = trt.Builder(self.logger)
        if builder is None:
            raise AgentError("runtime", f"no builder could be made: {self._said()}")
        network = builder.create_network(self.creation_flags())
        parser = trt.OnnxParser(network, self.logger)
        if not parser.parse(content):
            errors = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
            raise AgentError("model", f"TensorRT {trt.__version__} refuses the graph: {errors or self._said()}")
        config = builder.create_builder_config()
        for flag in self.precision_flags(precision):
            config.set_flag(getattr(trt.BuilderFlag, flag))
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if capability is not None:
            config.num_compute_capabilities = 1
            config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
        cache = self._set_timing_cache(config, timing_cache)
        self._set_shapes(builder, network, config, batch)
        engine = builder.build_serialized_network(network, config)
        if engine is None:
            raise AgentError("model", f"TensorRT {trt.__version__} builds no engine: {self._said()}")
        return bytes(engine), bytes(cache.serialize()) if cache is not None else None

    def _set_timing_cache(self, config: Any, content: bytes | None) -> Any:
        if self.name == "tensorrt_rtx":  # it times nothing ahead; kernels are chosen on the user's machine
            return None
        cache = config.create_timing_cache(content or b"")
        if cache is None or not config.set_timing_cache(cache, False):  # of another version: start afresh
            cache = config.create_timing_cache(b"")
            config.set_timing_cache(cache, False)
        return config.get_timing_cache()

    def _set_shapes(self, builder: Any, network: Any, config: Any, batch: int) -> None:
        images = network.get_input(0)
        shape = tuple(images.shape)
        if shape[0] not in (-1, batch):
            raise AgentError("model", f"the graph has a fixed batch of {shape[0]}", f"use --batch {shape[0]}")
        if -1 in shape:
            profile = builder.create_optimization_profile()
            fixed = (batch, *shape[1:])  # one size per engine: TensorRT is at its best when all are equal
            profile.set_shape(images.name, fixed, fixed, fixed)
            config.add_optimization_profile(profile)

    def _said(self) -> str:
        return "; ".join(self.messages[-3:]) or "without saying why"

    def _logger(self) -> Any:
        messages, trt = self.messages, self.module

        class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                    messages.append(message)
        return Logger()


class TensorRtRunner:
    """An engine on device 0, for exactly one batch size. GPU time is taken with CUDA events, copies apart."""

    def __init__(self, trt: TensorRt, cuda: Cuda, engine: bytes) -> None:
        self._trt, self._cuda, module = trt, cuda, trt.module
        trt.messages.clear()
        self._runtime = module.Runtime(trt.logger)
        self._engine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            raise AgentError("model", f"the engine cannot be loaded: {trt._said()}")
        self._context = self._engine.create_execution_context()
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        mode = module.TensorIOMode.INPUT
        self._input, = (name for name in names if self._engine.get_tensor_mode(name) == mode)
        self._output, = (name for name in names if self._engine.get_tensor_mode(name) != mode)
        shape = tuple(self._engine.get_tensor_shape(self._input))
        if -1 in shape:  # all sizes of its one profile are equal
            shape = tuple(self._engine.get_tensor_profile_shape(self._input, 0)[1])
        self.shape = tuple(int(size) for size in shape)
        self._context.set_input_shape(self._input, self.shape)
        self._out_shape = tuple(int(size) for size in self._context.get_tensor_shape(self._output))
        self._buffers = {name: _Buffer(cuda, shape) for name, shape in
                         ((self._input, self.shape), (self._output, self._out_shape))}
        for name, buffer in self._buffers.items():
            self._context.set_tensor_address(name, buffer.device.value)
        self._stream = cuda.made("cudaStreamCreate")
        self._graph: Any = None
        self.graph_note = ""

    def run(self, images: Floats) -> Floats:
        """Normalised images (N, 3, H, W) -> logits (N, classes); a last short batch is padded."""
        batch, found = self.shape[0], []
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            self._buffers[self._input].host[: len(part)] = part
            self._copy_in()
            self._enqueue()
            self._copy_out()
            self._cuda.call("cudaStreamSynchronize", self._stream)
            found.append(self._buffers[self._output].host[: len(part)].copy())
        return np.concatenate(found)

    def time(self, images: Floats, plan: dict[str, Any]) -> dict[str, Any]:
        """GPU time in `ns`, between CUDA events around the engine; `wall_ns` and both copies beside it."""
        cuda, events = self._cuda, [self._cuda.made("cudaEventCreate") for _ in range(4)]
        self._buffers[self._input].host[:] = images
        launch = self._captured()
        spans: list[list[int]] = [[], [], []]

        def once() -> None:
            cuda.call("cudaEventRecord", events[0], self._stream)
            self._copy_in()
            cuda.call("cudaEventRecord", events[1], self._stream)
            launch()
            cuda.call("cudaEventRecord", events[2], self._stream)
            self._copy_out()
            cuda.call("cudaEventRecord", events[3], self._stream)
            cuda.call("cudaEventSynchronize", events[3])
            for span, first, second in zip(spans, events, events[1:]):
                span.append(self._elapsed(first, second))

        try:
            wall = sample_durations(once, **plan)
        finally:
            for event in events:
                cuda.call("cudaEventDestroy", event)
        to_device, compute, to_host = (span[-len(wall):] for span in spans)  # warm-up runs come first
        return {"ns": compute, "wall_ns": wall, "to_device_ns": _median(to_device), "to_host_ns": _median(to_host),
                "cuda_graph": self._graph is not None, "cuda_graph_note": self.graph_note}

    def layers(self) -> Any:
        """What the engine's inspector tells of its layers."""
        inspector = self._engine.create_engine_inspector()
        return json.loads(inspector.get_engine_information(self._trt.module.LayerInformationFormat.JSON))

    def profile(self, images: Floats, runs: int) -> list[dict[str, Any]]:
        """Mean milliseconds of each layer over `runs` runs, in a context of its own: profiling slows the engine."""
        module, spent = self._trt.module, []  # type: tuple[Any, list[tuple[str, float]]]

        class Profiler(module.IProfiler):  # type: ignore[misc]
            def __init__(self) -> None:
                module.IProfiler.__init__(self)

            def report_layer_time(self, name: str, milliseconds: float) -> None:
                spent.append((name, milliseconds))

        timed = self._engine.create_execution_context()
        timed.set_input_shape(self._input, self.shape)
        for name, buffer in self._buffers.items():
            timed.set_tensor_address(name, buffer.device.value)
        timed.profiler = Profiler()
        self._buffers[self._input].host[:] = images
        self._copy_in()
        taken = []
        for _ in range(runs + 3):
            spent.clear()
            if not timed.execute_async_v3(self._stream.value):
                raise AgentError("runtime", f"the engine failed: {self._trt._said()}")
            self._cuda.call("cudaStreamSynchronize", self._stream)
            taken.append(list(spent))
        # By place in the run, not by name: TensorRT 11 gives several layers one name.
        return [{"name": layer[0][0], "averageMs": sum(spent for _, spent in layer) / runs}
                for layer in zip(*taken[3:])]

    def close(self) -> None:
        """Frees GPU memory."""
        if self._graph is not None:
            self._cuda.call("cudaGraphExecDestroy", self._graph)
        self._cuda.call("cudaStreamDestroy", self._stream)
        for buffer in self._buffers.values():
            buffer.free()
        del self._context, self._engine, self._runtime

    def _captured(self) -> Callable[[], None]:
        """What launches the engine: a CUDA graph where it can be captured, else the plain call."""
        if self._graph is None and not self.graph_note:
            self._enqueue()  # the first run allocates, which a capture forbids
            self._cuda.call("cudaStreamSynchronize", self._stream)
            try:
                self._cuda.call("cudaStreamBeginCapture", self._stream, _CAPTURE_THREAD_LOCAL)
                try:
                    self._enqueue()
                finally:
                    graph = _HANDLE()
                    self._cuda.call("cudaStreamEndCapture", self._stream, ctypes.byref(graph))
                self._graph = self._cuda.made("cudaGraphInstantiateWithFlags", graph, 0)
                self._cuda.call("cudaGraphDestroy", graph)
            except AgentError as error:
                self.graph_note = error.what
        if self._graph is None:
            return self._enqueue
        return lambda: self._cuda.call("cudaGraphLaunch", self._graph, self._stream)

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.value):
            raise AgentError("runtime", f"the engine failed: {self._trt._said()}")

    def _copy_in(self) -> None:
        buffer = self._buffers[self._input]
        self._cuda.call("cudaMemcpyAsync", buffer.device, buffer.pinned, buffer.bytes, _TO_DEVICE, self._stream)

    def _copy_out(self) -> None:
        buffer = self._buffers[self._output]
        self._cuda.call("cudaMemcpyAsync", buffer.pinned, buffer.device, buffer.bytes, _TO_HOST, self._stream)

    def _elapsed(self, first: Any, second: Any) -> int:
        milliseconds = ctypes.c_float()
        self._cuda.call("cudaEventElapsedTime", ctypes.byref(milliseconds), first, second)
        return round(milliseconds.value * 1e6)


class _Buffer:
    """The same float tensor on the device and in pinned memory of the host."""

    def __init__(self, cuda: Cuda, shape: tuple[int, ...]) -> None:
        self._cuda, self.bytes = cuda, 4 * math.prod(shape)
        self.device, self.pinned = cuda.made("cudaMalloc", self.bytes), cuda.made("cudaMallocHost", self.bytes)
        memory: Any = (ctypes.c_float * math.prod(shape)).from_address(self.pinned.value or 0)
        self.host = np.frombuffer(memory, dtype=np.float32).reshape(shape)

    def free(self) -> None:
        self._cuda.call("cudaFree", self.device)
        self._cuda.call("cudaFreeHost", self.pinned)


def _median(values: list[int]) -> float:
    return float(np.median(values))


def load_tensorrt(name: str) -> TensorRt:
    """TensorRT or TensorRT for RTX as installed; AgentError when it is not or is too old."""
    try:
        return TensorRt(__import__(name))
    except ImportError as error:
        raise AgentError("runtime", "not installed" if isinstance(error, ModuleNotFoundError) else str(error),
                         "JetPack installs it for /usr/bin/python3; a virtual environment needs --system-site-packages"
                         if l4t_version() else "") from error
    except (OSError, AttributeError) as error:  # a package without its libraries
        raise AgentError("runtime", f"{name} is broken ({error})", "install it again") from error


# ------------------------------------------------------------------------------------------- what the device is

def cpu_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read(path: str, root: str = "/") -> str | None:
    """The text of a file of /proc or /sys without its trailing NULs and spaces, or None."""
    try:
        with open(os.path.join(root, path.lstrip("/")), "rb") as file:
            return file.read().decode("utf-8", "replace").strip("\0 \n")
    except OSError:
        return None


def read_number(path: str, root: str = "/") -> int | None:
    """The integer in a file, or None."""
    text = read(path, root)
    try:
        return int(text) if text else None
    except ValueError:
        return None


def paths(pattern: str, root: str = "/") -> list[str]:
    """Files that match, as absolute paths below `root`, which is left out."""
    found = glob.glob(os.path.join(root, pattern.lstrip("/")))
    return sorted("/" + os.path.relpath(path, root) for path in found)


def l4t_version(root: str = "/") -> str | None:
    """`36.4.3` of `# R36 (release), REVISION: 4.3, ...`, or None where this is no Jetson."""
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", read("/etc/nv_tegra_release", root) or "")
    return "{}.{}".format(*found.groups()) if found else None


def describe(root: str = "/") -> dict[str, Any]:
    """Model, processor, memory, versions and which runtimes work here, with the reason for each that does not."""
    model = read("/proc/device-tree/model", root)
    info = read("/proc/cpuinfo", root) or ""
    name = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", info, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", info, re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB", read("/proc/meminfo", root) or "", re.MULTILINE)
    l4t = l4t_version(root)
    gpu, runtimes = None, {}  # type: dict[str, Any] | None, dict[str, dict[str, Any]]
    try:
        gpu = Cuda().device()
    except AgentError as error:
        gpu_reason = error.what
    for runtime in RUNTIMES:
        try:
            if runtime == "onnxruntime":
                runtimes[runtime] = {"version": __import__(runtime).__version__}
            else:
                version = load_tensorrt(runtime).module.__version__
                runtimes[runtime] = {"version": version} if gpu else {"version": version, "reason": gpu_reason}
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError)
            runtimes[runtime] = {"reason": "not installed" if missing else str(error)}
        except AgentError as error:
            runtimes[runtime] = {"reason": error.what, "fix": error.fix}
    return {"name": model or (name.group(1).strip() if name else platform.machine()),
            "jetson": l4t is not None or "Jetson" in (model or ""), "l4t": l4t, "machine": platform.machine(),
            "system": f"{platform.system()} {platform.release()}", "python": platform.python_version(),
            "numpy": np.__version__, "cpu": name.group(1).strip() if name else None, "cores": cpu_count(),
            "flags": flags.group(1).split() if flags else [], "memory": int(memory.group(1)) * 1024 if memory else None,
            "gpu": gpu, "runtimes": runtimes, "power_sources": power_sources(root)}


def state(root: str = "/") -> dict[str, Any]:
    """Power mode, governors, clocks, temperatures and throttling counters at this moment; None where unknown."""
    clocks, governors = {}, {}
    for folder in paths("/sys/devices/system/cpu/cpu[0-9]*/cpufreq", root):
        cpu = folder.split("/")[-2]
        governors[cpu] = read(folder + "/scaling_governor", root)
        clocks[cpu] = {key: _scaled(read_number(f"{folder}/scaling_{name}_freq", root), 1000)
                       for key, name in (("now", "cur"), ("min", "min"), ("max", "max"))}
    for folder in paths("/sys/class/devfreq/*", root):
        if re.search(r"gpu|gv11b|ga10b|gp10b|gm20b", folder):
            clocks["gpu"] = {key: read_number(f"{folder}/{name}_freq", root)
                             for key, name in (("now", "cur"), ("min", "min"), ("max", "max"))}
    floors = [clock["min"] == clock["max"] for clock in clocks.values() if clock["min"] and clock["max"]]
    return {"power_mode": _power_mode(root), "clocks_locked": all(floors) if floors else None, "governors": governors,
            "clocks_hz": clocks, "temps_c": _temperatures(root), "throttle": _throttling(root),
            "device": read("/proc/device-tree/model", root)}


def _power_mode(root: str) -> str | None:
    if root == "/" and shutil.which("nvpmodel"):
        try:
            said = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, timeout=10, check=False).stdout
        except (OSError, subprocess.TimeoutExpired):
            said = ""
        found = re.search(r"NV Power Mode:\s*(\S+)", said)
        if found:
            return found.group(1)
    return read("/var/lib/nvpmodel/status", root)  # `pmode:0002`


def _scaled(value: int | None, factor: int) -> int | None:
    return None if value is None else value * factor


def _temperatures(root: str) -> dict[str, float]:
    found = {}
    for folder in paths("/sys/class/thermal/thermal_zone*", root):
        kind, value = read(folder + "/type", root), read_number(folder + "/temp", root)
        if kind and value is not None and value > 0:  # zones that are switched off read negative
            found[re.sub(r"[-_]?thermal", "", kind)] = value / 1000
    return found


def _throttling(root: str) -> dict[str, int]:
    found = {}
    for path in [*paths("/sys/class/hwmon/hwmon*/oc*_event_cnt", root),
                 *paths("/sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count", root)]:
        value = read_number(path, root)
        if value is not None:
            parts = path.split("/")
            found[parts[-3] if parts[-1] == "core_throttle_count" else parts[-1][: -len("_event_cnt")]] = value
    return found


# ------------------------------------------------------------------------------------------------- power samples

def power_sources(root: str = "/") -> list[str]:
    """Where power can be read: tegrastats, ina3221, rapl."""
    found = ["tegrastats"] if root == "/" and shutil.which("tegrastats") else []
    found += ["ina3221"] if _ina3221(root) else []
    return found + (["rapl"] if _rapl(root) else [])


def sample(root: str = "/") -> dict[str, Any]:
    """One sample of everything that /sys tells: rails in mW, RAPL counters in uJ, clocks, temperatures, throttling."""
    taken: dict[str, Any] = {"t": time.monotonic()}
    rails, counters = _ina3221(root), _rapl(root)
    if rails:
        taken["rails_mw"] = rails
    if counters:
        taken["rapl_uj"] = {name: counter for name, (counter, _) in counters.items()}
        taken["rapl_max_uj"] = {name: limit for name, (_, limit) in counters.items() if limit}
    now = state(root) if not rails and not counters else None
    taken["temps_c"], taken["throttle"] = _temperatures(root), _throttling(root)
    clocks = (now or {"clocks_hz": {}})["clocks_hz"]
    taken["clocks_hz"] = {name: clock["now"] for name, clock in clocks.items() if clock["now"]}
    return taken


def _ina3221(root: str) -> dict[str, float]:
    """Milliwatts of each rail: JetPack 5 and later under hwmon (mV, mA), JetPack 4 under iio (mW)."""
    rails = {}
    for label in paths("/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in[1-3]_label", root):
        folder, number = os.path.dirname(label), os.path.basename(label)[2]
        volts, amperes = (read_number(f"{folder}/{kind}{number}_input", root) for kind in ("in", "curr"))
        if volts is not None and amperes is not None:
            rails[read(label, root) or number] = volts * amperes / 1000
    for label in paths("/sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_[0-2]", root):
        watts = read_number(f"{os.path.dirname(label)}/in_power{label[-1]}_input", root)
        if watts is not None:
            rails[read(label, root) or label[-1]] = float(watts)
    return rails


def _rapl(root: str) -> dict[str, tuple[int, int | None]]:
    """(counter, where it wraps) in microjoules of each processor package; reading them usually takes root."""
    found = {}
    for folder in paths("/sys/class/powercap/intel-rapl:[0-9]", root):
        counter = read_number(folder + "/energy_uj", root)
        if counter is not None:
            limit = read_number(folder + "/max_energy_range_uj", root)
            found[read(folder + "/name", root) or folder] = (counter, limit)
    return found


class Sampler:
    """Samples in a process of its own, so that the one that measures is left alone; it goes on until `stop`."""

    def __init__(self, sources: list[str], seconds: float = SAMPLE_S) -> None:
        self._samples: list[dict[str, Any]] = []
        command = ["tegrastats", "--interval", str(int(1000 * seconds))] if "tegrastats" in sources else [
            sys.executable, os.path.abspath(__file__), "sample", str(seconds)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         stderr=subprocess.DEVNULL, text=True)
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        for line in self._process.stdout or ():
            if line.startswith("{"):
                with contextlib.suppress(ValueError):
                    self._samples.append(json.loads(line))
            elif line.strip():
                self._samples.append({"t": time.monotonic(), "tegrastats": line.strip()})

    def take(self, start: float, end: float) -> list[dict[str, Any]]:
        """Those from `start` to `end` on the monotonic clock, in the order of time; earlier ones are forgotten."""
        taken = [one for one in list(self._samples) if start <= one["t"] <= end]
        self._samples[:] = [one for one in list(self._samples) if one["t"] > end]
        return taken

    def stop(self) -> None:
        """Ends its process."""
        self._process.kill()
        self._process.wait()
        self._thread.join(5)
        if self._process.stdout:
            self._process.stdout.close()


_SAMPLERS: list[Sampler] = []  # the one of this process, once power was asked for and can be told


def sampled(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work` returns and the `power` samples that were taken meanwhile."""
    sources = power_sources() if not _SAMPLERS else []
    if sources:
        with contextlib.suppress(OSError):
            _SAMPLERS.append(Sampler(sources))
            atexit.register(stop_sampling)
    start = time.monotonic()
    done = work()
    return dict(done, power=_SAMPLERS[0].take(start, time.monotonic()) if _SAMPLERS else [])


def stop_sampling() -> None:
    """Ends the process that samples, if there is one."""
    while _SAMPLERS:
        _SAMPLERS.pop().stop()


def idle(seconds: float) -> list[dict[str, Any]]:
    """Samples of a device that does nothing; at once and empty where power cannot be read."""
    def rest() -> dict[str, Any]:
        time.sleep(seconds)
        return {}
    return list(sampled(rest)["power"]) if power_sources() else []


# ------------------------------------------------------------------------------------------------------- the cache

def cache_folder() -> str:
    """$EDGE_SE_CACHE/device, else below the user's cache folder: the only place that is written to."""
    base = os.environ.get("EDGE_SE_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "edge-se")
    return os.path.join(base, "device")


class Cache:
    """Files by hash, engines by key. Everything is written aside and renamed."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.files, self.engines = os.path.join(folder, "files"), os.path.join(folder, "engines")
        with self.guarded():
            for path in (self.files, self.engines):
                os.makedirs(path, exist_ok=True)
        self.sweep()

    def path(self, sha256: str) -> str:
        """Where a received file lies; the name is checked, since it comes from outside."""
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise AgentError("protocol", f"no SHA-256: {sha256[:80]!r}")
        return os.path.join(self.files, sha256)

    def has(self, sha256: str) -> bool:
        """Whether it is here, whole and unaltered."""
        try:
            with open(self.path(sha256), "rb") as file:
                return hashlib.sha256(file.read()).hexdigest() == sha256
        except OSError:
            return False

    def append(self, sha256: str, offset: int, total: int, part: bytes) -> None:
        """Adds a part of a file in its order; the last one checks the hash and renames."""
        temporary = os.path.join(self.files, f"{TEMPORARY}{os.getpid()}-{sha256[:16]}")
        path = self.path(sha256)
        with self.guarded(total - offset):
            with open(temporary, "ab" if offset else "wb") as file:
                file.write(part)
                file.flush()
                size = file.tell()
            if size < total:
                return
            with open(temporary, "rb") as file:
                arrived = hashlib.sha256(file.read()).hexdigest()
            if arrived != sha256:
                os.unlink(temporary)
                raise AgentError("protocol", f"a file arrived altered: SHA-256 {arrived[:12]} instead of {sha256[:12]}",
                                 "run it again")
            os.replace(temporary, path)

    def write(self, path: str, content: bytes) -> None:
        """`content` to `path`, all or nothing."""
        folder, name = os.path.split(path)
        temporary = os.path.join(folder, f"{TEMPORARY}{os.getpid()}-{name}")
        with self.guarded(len(content)):
            try:
                with open(temporary, "wb") as file:
                    file.write(content)
                os.replace(temporary, path)
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)

    def sweep(self, everything: bool = False) -> None:
        """Removes what dead processes left; with `everything` all that was received, and engines beyond the limit."""
        for path in glob.glob(os.path.join(self.folder, "*", TEMPORARY + "*")):
            owner = os.path.basename(path)[len(TEMPORARY):].partition("-")[0]
            if owner == str(os.getpid()) or not os.path.exists(f"/proc/{owner}"):
                _unlink(path)
        if not everything:
            return
        for folder in (self.files, os.path.join(self.folder, "agent")):
            for path in glob.glob(os.path.join(folder, "*")):
                _unlink(path)
        room = ENGINES_BYTES
        kept = glob.glob(os.path.join(self.engines, "*.engine"))
        for path in sorted(kept, key=os.path.getmtime, reverse=True):
            room -= os.path.getsize(path)
            if room < 0:
                _unlink(path)

    @contextlib.contextmanager
    def guarded(self, needed: int | None = None) -> Iterator[None]:
        """Turns a full, read-only or forbidden disk into a message with the folder and the space that is left."""
        try:
            yield
        except OSError as error:
            for path in glob.glob(os.path.join(self.files, f"{TEMPORARY}{os.getpid()}-*")):
                _unlink(path)
            left = ""
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                free = shutil.disk_usage(self.folder).free
                left = f", {free / 1e6:.1f} MB free" + (f", {needed / 1e6:.1f} MB needed" if needed else "")
            raise AgentError("full" if left else "disk", f"{self.folder} cannot be written ({error.strerror}{left})",
                             "free some space on the device, or set EDGE_SE_CACHE there to a folder on a larger "
                             "disk") from error


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


class Lock:
    """One measurement at a time: two would spoil both. The same session's newcomer ends the one that it lost."""

    def __init__(self, folder: str, token: str) -> None:
        path = os.path.join(folder, "lock")
        self._file = open(path, "a+")  # noqa: SIM115 - held as long as the process lives
        for attempt in range(50):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if attempt == 0:
                    self._end_predecessor(token)
                time.sleep(0.1)  # one whose host has just gone is about to end
        else:
            raise AgentError("busy", "process {} measures here for someone else".format(self._holder().get("pid")),
                             "wait for it, or end that process")
        self._file.seek(0)
        self._file.truncate()
        json.dump({"pid": os.getpid(), "token": token}, self._file)
        self._file.flush()

    def _holder(self) -> dict[str, Any]:
        self._file.seek(0)
        try:
            return dict(json.loads(self._file.read()))
        except ValueError:  # it is being written
            return {}

    def _end_predecessor(self, token: str) -> None:
        holder = self._holder()
        if holder.get("token") == token and "serve" in (read("/proc/{}/cmdline".format(holder.get("pid"))) or ""):
            with contextlib.suppress(OSError):
                os.kill(holder["pid"], signal.SIGKILL)


# ------------------------------------------------------------------------------------------------------ the server

def read_frame(stream: Any) -> tuple[dict[str, Any], bytes] | None:
    """(header, payload) from a binary stream: 4 bytes length, JSON, then as many bytes as its "bytes" says.

    None at its end; ValueError for what is no frame.
    """
    size = stream.read(4)
    if len(size) < 4:
        return None
    length = int.from_bytes(size, "big")
    header = json.loads(stream.read(length)) if length <= LARGEST else None
    if not isinstance(header, dict):
        raise ValueError("no frame")
    count = header.get("bytes", 0)
    if not isinstance(count, int) or not 0 <= count <= LARGEST:
        raise ValueError("no frame")
    payload = stream.read(count) if count else b""
    return (header, payload) if len(payload) == count else None


def write_frame(stream: Any, header: dict[str, Any], payload: bytes = b"") -> None:
    """The counterpart of `read_frame`."""
    content = json.dumps(dict(header, bytes=len(payload)) if payload else header).encode()
    stream.write(len(content).to_bytes(4, "big") + content + payload)
    stream.flush()


class Server:
    """Answers one request after the other: {"op": ..., ...} with a payload -> {"ok": true, ...} or {"error": ...}.

    A session is replayed by whoever reconnects, so nothing but files and engines outlives the connection.
    """

    def __init__(self, incoming: Any, outgoing: Any) -> None:
        self._in, self._out = incoming, outgoing
        self._requests: queue.Queue[tuple[dict[str, Any], bytes] | None] = queue.Queue()
        self._cache: Cache | None = None
        self._lock: Lock | None = None
        self._sessions: dict[str, Any] = {}
        self._tensorrt: dict[str, tuple[TensorRt, Cuda]] = {}

    def serve(self) -> None:
        """Until the host says bye or is gone."""
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            request = self._requests.get()
            if request is None:
                return
            header, payload = request
            answer, content = self._answer(header, payload)
            write_frame(self._out, answer, content)
            if header.get("op") == "bye":
                return

    def _listen(self) -> None:
        heard, waiting = time.monotonic(), True
        while waiting:
            if select.select([self._in], [], [], 5.0)[0]:
                try:
                    frame = read_frame(self._in)
                except ValueError:
                    frame = None
                if frame is None:
                    break
                heard = time.monotonic()
                if frame[0].get("op") == "abort":
                    self._end(everything=True)
                if frame[0].get("op") != "ping":
                    self._requests.put(frame)
            waiting = time.monotonic() - heard < SILENCE_S
        self._end(everything=False)

    def _end(self, everything: bool) -> None:
        """At once: whatever runs now runs for nobody, and may be inside a library for minutes."""
        if self._cache is not None:
            self._cache.sweep(everything)
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
        return {"has": self._storage.has(str(header["sha256"]))}, b""

    def _op_put(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        self._storage.append(str(header["sha256"]), int(header["offset"]), int(header["total"]), payload)
        return {}, b""

    def _op_open(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        name, runtime = str(header["session"]), str(header["runtime"])
        self._close(name)
        with open(self._storage.path(str(header["sha256"])), "rb") as file:
            content = file.read()
        if runtime == "onnxruntime":
            self._sessions[name] = OnnxRuntimeRunner(content, int(header["threads"]), str(header["target"]))
            return {}, b""
        trt, cuda = self._loaded(runtime)
        engine, facts = engine_of(trt, cuda.device(), content, self._storage, precision=str(header["precision"]),
                                  target=str(header["target"]), batch=int(header["batch"]))
        self._sessions[name] = TensorRtRunner(trt, cuda, engine)
        return {"engine": facts}, b""

    def _op_run(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        logits = self._session(header).run(_images(header, payload))
        return {"shape": list(logits.shape)}, np.ascontiguousarray(logits, dtype="<f4").tobytes()

    def _op_time(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        session, images = self._session(header), _images(header, payload)
        plan = {key: header[key] for key in ("min_duration", "min_runs", "warmup")}
        timed = sampled(lambda: session.time(images, plan))
        content = np.asarray(timed.pop("ns"), dtype="<i8").tobytes()
        wall = timed.pop("wall_ns", None)
        return dict(timed, wall_ns=_median(wall) if wall else None), content

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


def engine_of(trt: TensorRt, gpu: dict[str, Any], content: bytes, cache: Cache, *, precision: str, target: str,
              batch: int) -> tuple[bytes, dict[str, Any]]:
    """The engine of an ONNX file from the cache, or built now; and its key, whether it was cached, and the seconds."""
    reason = trt.why_not(precision, target, gpu["capability"])
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


def _images(header: dict[str, Any], payload: bytes) -> Floats:
    return np.frombuffer(payload, dtype="<f4").reshape([int(size) for size in header["shape"]])


class _Pipe:
    """Standard input without a buffer of its own, so that `select` tells the truth about it."""

    def fileno(self) -> int:
        return 0

    def read(self, count: int) -> bytes:
        parts, missing = [], count
        while missing:
            part = os.read(0, min(missing, CHUNK))
            if not part:
                break
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


# ------------------------------------------------------------------------------------------------------ the bundle

class Bundle:
    """A folder that `edge-se export --bundle` wrote: a model that runs here, its preprocessing and its labels."""

    def __init__(self, folder: str, precisions: Iterable[str] = ("int8", "fp16", "fp32"),
                 runtimes: Iterable[str] = RUNTIMES) -> None:
        """Opens the first precision, runtime and file that run here; AgentError with every reason otherwise."""
        manifest = _bundle_manifest(folder)
        self.labels, self.size = list(manifest["labels"]), tuple(manifest["input_size"])
        self._mean, self._std = (np.asarray(manifest[key], np.float32).reshape(3, 1, 1) for key in ("mean", "std"))
        reasons = []
        for precision in precisions:
            for runtime in runtimes:
                for entry in manifest["files"]:
                    reason = _unfit(entry, runtime) if entry["precision"] == precision else ""
                    if reason is None:
                        self.file, self.runtime = entry["file"], runtime
                        self._runner = self._open(os.path.join(folder, entry["file"]), entry, runtime)
                        return
                    reasons += ["{} in {}: {}".format(entry["file"], runtime, reason)] if reason else []
        raise AgentError("runtime", "nothing of this bundle runs here: " + "; ".join(reasons))

    def _open(self, path: str, entry: dict[str, Any], runtime: str) -> Any:
        try:
            with open(path, "rb") as file:
                content = file.read()
        except (OSError, ValueError) as error:
            raise AgentError("model", f"{path} cannot be read ({error})", "copy it again") from error
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise AgentError("model", f"{path} was altered: its SHA-256 is not the bundle's", "copy it again")
        if runtime == "onnxruntime":
            return OnnxRuntimeRunner(content, 0, entry["target"])
        trt, cuda = load_tensorrt(runtime), Cuda()
        engine, _ = engine_of(trt, cuda.device(), content, Cache(cache_folder()), precision=entry["precision"],
                              target=entry["target"], batch=1)
        return TensorRtRunner(trt, cuda, engine)

    def read_image(self, path: str) -> Floats:
        """An image file (through Pillow) or an .npy of pixels (3, H, W), uint8, as one batch for `run`."""
        height, width = self.size
        try:
            if path.endswith(".npy"):
                pixels = np.load(path)
            else:
                from PIL import Image  # on a Jetson: sudo apt install python3-pil

                pixels = np.asarray(Image.open(path).convert("RGB").resize((width, height))).transpose(2, 0, 1)
        except Exception as error:  # Pillow and numpy raise whatever a broken file makes them stumble over
            raise AgentError("image", f"{path} cannot be read as an image ({error})") from error
        if pixels.shape != (3, height, width) or pixels.dtype != np.uint8:
            raise AgentError("image", f"{path}: {pixels.dtype} of shape {pixels.shape} are no pixels of this model",
                             f"give uint8 of shape (3, {height}, {width})")
        return self.normalised(pixels[None])

    def normalised(self, pixels: Any) -> Floats:
        """Pixels (N, 3, H, W) from 0 to 255 -> what the model was trained on."""
        return ((np.asarray(pixels, np.float32) / 255 - self._mean) / self._std).astype(np.float32)

    def run(self, images: Floats) -> Floats:
        """Normalised images (N, 3, H, W) -> logits (N, classes)."""
        return np.asarray(self._runner.run(images), np.float32)

    def label(self, logits: Floats) -> str:
        """The name of the best class of one image's logits, its number where the bundle has no name for it."""
        best = int(logits.argmax())
        return self.labels[best] if best < len(self.labels) else str(best)


def _bundle_manifest(folder: str) -> dict[str, Any]:
    """bundle.json with every field that `Bundle` uses, in the type that it takes for granted; AgentError otherwise."""
    try:
        with open(os.path.join(folder, "bundle.json"), "rb") as file:
            manifest: dict[str, Any] = json.load(file)
        height, width = manifest["input_size"]
        scales = np.asarray([manifest["mean"], manifest["std"]], np.float32).reshape(2, 3)
        texts = [entry[key] for entry in manifest["files"] for key in ("file", "precision", "target", "sha256")]
        if not (isinstance(manifest["labels"], list) and np.isfinite(scales).all() and (scales[1] > 0).all()
                and all(isinstance(text, str) for text in [*manifest["labels"], *texts])
                and all(isinstance(size, int) and 0 < size < 2**16 for size in (height, width))):
            raise ValueError("a field holds something else than `edge-se export --bundle` writes")
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise AgentError("model", f"{folder} holds no readable bundle.json ({error})", "copy it again") from error
    return manifest


def _unfit(entry: dict[str, Any], runtime: str) -> str | None:
    """Why a file of a bundle is not for a runtime of this device; None when it is."""
    target = entry["target"]
    if runtime != "onnxruntime":
        try:
            return load_tensorrt(runtime).why_not(entry["precision"], target, Cuda().device()["capability"])
        except AgentError as error:
            return error.what
    try:
        __import__(runtime)
    except ImportError:
        return "not installed"
    if target not in ("any", "cpu", "arm"):
        return f"written for {target}"
    arm = platform.machine().startswith(("aarch64", "arm"))
    return None if target == "any" or (target == "arm") == arm else f"written for {target}"


def main() -> int:
    """`describe`, `sample SECONDS` or `serve`."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "describe":
        print(json.dumps(dict(describe(), state=state()), indent=2))
    elif command == "sample" and len(sys.argv) == 3:
        while True:
            print(json.dumps(sample()), flush=True)
            time.sleep(float(sys.argv[2]))
    elif command == "serve":
        answers = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # whatever a runtime prints must not come between the answers
        answers.write(MAGIC)
        answers.flush()
        Server(_Pipe(), answers).serve()
    else:
        sys.stderr.write((__doc__ or "") + "\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
