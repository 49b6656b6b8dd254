"""An engine on the GPU: run, timed and profiled."""

from __future__ import annotations

import ctypes
import json
import math

import numpy as np

from .cuda import CAPTURE_THREAD_LOCAL, HANDLE, TO_DEVICE, TO_HOST, Cuda
from .errors import AgentError
from .tensorrt import sizes
from .timing import median, timed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import tensorrt as api  # for types alone, as in tensorrt.py
    from numpy.typing import NDArray

    from .tensorrt import TensorRt

    Floats = NDArray[np.float32]


class TensorRtRunner:
    """An engine on device 0, for exactly one batch size. GPU time is taken with CUDA events, copies apart."""

    def __init__(self, trt: TensorRt, cuda: Cuda, engine: bytes) -> None:
        self._trt, self._cuda, module = trt, cuda, trt.module
        trt.messages.clear()
        self._runtime: api.Runtime = trt.made("runtime", lambda: module.Runtime(trt.logger))
        loaded: api.ICudaEngine | None = self._runtime.deserialize_cuda_engine(engine)
        if loaded is None:
            raise AgentError("model", f"the engine cannot be loaded: {trt.said()}")
        self._engine = loaded
        self._context = self._made_context()
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        mode = module.TensorIOMode.INPUT
        self._input, = (name for name in names if self._engine.get_tensor_mode(name) == mode)
        self._output, = (name for name in names if self._engine.get_tensor_mode(name) != mode)
        self.shape = sizes(self._engine.get_tensor_shape(self._input))
        if -1 in self.shape:  # all sizes of its one profile are equal
            self.shape = sizes(self._engine.get_tensor_profile_shape(self._input, 0)[1])
        self._context.set_input_shape(self._input, self.shape)
        self._out_shape = sizes(self._context.get_tensor_shape(self._output))
        self._buffers = {name: _Buffer(cuda, shape, self._is_bytes(name)) for name, shape in
                         ((self._input, self.shape), (self._output, self._out_shape))}
        for name, buffer in self._buffers.items():
            self._context.set_tensor_address(name, buffer.address)
        self._stream = cuda.made("cudaStreamCreate")
        self._graph: Any = None
        self.graph_note = ""

    def _made_context(self) -> api.IExecutionContext:
        context: api.IExecutionContext = self._trt.made("execution context", self._engine.create_execution_context)
        return context

    def _is_bytes(self, name: str) -> bool:
        """Whether a tensor is uint8; TensorRT has such inputs from 8.5 on."""
        return str(self._engine.get_tensor_dtype(name)).rpartition(".")[2] == "UINT8"

    def run(self, images: Any) -> Floats:
        """What the model takes, images first -> logits (N, classes); a last short batch is padded."""
        batch, outputs = self.shape[0], []
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            self._buffers[self._input].host[: len(part)] = part
            self._copy_in()
            self._enqueue()
            self._copy_out()
            self._cuda.call("cudaStreamSynchronize", self._stream)
            outputs.append(self._buffers[self._output].host[: len(part)].copy())
        return np.concatenate(outputs)

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
            whole = timed(once, **plan)
        finally:
            for event in events:
                cuda.call("cudaEventDestroy", event)
        wall = whole["ns"]
        to_device, compute, to_host = (span[-len(wall):] for span in spans)  # warm-up runs come first
        return {"ns": compute, "wall_ns": wall, "window": whole["window"],
                "to_device_ns": median(to_device), "to_host_ns": median(to_host),
                "cuda_graph": self._graph is not None, "cuda_graph_note": self.graph_note}

    def layers(self) -> Any:
        """The layer information of the engine's inspector."""
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

        timed = self._made_context()
        timed.set_input_shape(self._input, self.shape)
        for name, buffer in self._buffers.items():
            timed.set_tensor_address(name, buffer.address)
        timed.profiler = Profiler()
        self._buffers[self._input].host[:] = images
        self._copy_in()
        taken = []
        for _ in range(runs + 3):
            spent.clear()
            if not timed.execute_async_v3(self._stream.value or 0):
                raise AgentError("runtime", f"the engine failed: {self._trt.said()}")
            self._cuda.call("cudaStreamSynchronize", self._stream)
            taken.append(list(spent))
        # By position in the run, not by name: TensorRT 11 gives several layers one name.
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
                self._cuda.call("cudaStreamBeginCapture", self._stream, CAPTURE_THREAD_LOCAL)
                try:
                    self._enqueue()
                finally:
                    graph = HANDLE()
                    self._cuda.call("cudaStreamEndCapture", self._stream, ctypes.byref(graph))
                self._graph = self._cuda.made("cudaGraphInstantiateWithFlags", graph, 0)
                self._cuda.call("cudaGraphDestroy", graph)
            except AgentError as error:
                self.graph_note = error.what
        if self._graph is None:
            return self._enqueue
        return lambda: self._cuda.call("cudaGraphLaunch", self._graph, self._stream)

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.value or 0):
            raise AgentError("runtime", f"the engine failed: {self._trt.said()}")

    def _copy_in(self) -> None:
        buffer = self._buffers[self._input]
        self._cuda.call("cudaMemcpyAsync", buffer.device, buffer.pinned, buffer.bytes, TO_DEVICE, self._stream)

    def _copy_out(self) -> None:
        buffer = self._buffers[self._output]
        self._cuda.call("cudaMemcpyAsync", buffer.pinned, buffer.device, buffer.bytes, TO_HOST, self._stream)

    def _elapsed(self, first: Any, second: Any) -> int:
        milliseconds = ctypes.c_float()
        self._cuda.call("cudaEventElapsedTime", ctypes.byref(milliseconds), first, second)
        return round(milliseconds.value * 1e6)


class _Buffer:
    """The same tensor of float32 or uint8 on the device and in pinned memory of the host."""

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], of_bytes: bool) -> None:
        self._cuda, self.bytes = cuda, (1 if of_bytes else 4) * math.prod(shape)
        self.device, self.pinned = cuda.made("cudaMalloc", self.bytes), cuda.made("cudaMallocHost", self.bytes)
        memory: Any = (ctypes.c_ubyte * self.bytes).from_address(self.pinned.value or 0)
        self.host: Any = np.frombuffer(memory, np.uint8 if of_bytes else np.float32).reshape(shape)

    @property
    def address(self) -> int:
        return self.device.value or 0

    def free(self) -> None:
        self._cuda.call("cudaFree", self.device)
        self._cuda.call("cudaFreeHost", self.pinned)
