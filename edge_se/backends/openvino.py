"""OpenVINO on the CPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_se.backends.base import Backend, Device, Session, unfit_here
from edge_se.core.environment import cpu_count, importable
from edge_se.core.errors import ModelError, UnavailableError
from edge_se.graph.joined import with_unsigned_joins
from edge_se.graph.kept_axes import with_kept_axes
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.spare_pairs import spare_pairs
from edge_se.graph.targets.table import is_simulated
from edge_se.graph.zero_padding import without_offset_pools
from edge_se.measure.timing import Latencies, TimingPlan, measure

INSTALL = "pip install 'edge-se[openvino]'"


def installed() -> bool:
    """Whether OpenVINO can be imported; nothing is imported to find out."""
    return importable("openvino")


@cache
def core() -> Any:
    """One `Core` for the life of the process, ready for several threads.

    On processors with AMX each `Core` sets its own signal stack, and restores the earlier one when it is deleted. When
    two overlap, the second restores the stack of the first, which is gone. The next signal, such as Ctrl-C, is then a
    segmentation fault (OpenVINO 2026.4).
    """
    import openvino

    # The code that shows a tensor as an array sets itself up at its first use, under a lock that releases the GIL:
    # two threads that use it first at the same time can wait for each other for ever (OpenVINO 2026.4).
    _ = openvino.Tensor(np.zeros(1, np.float32)).data
    return openvino.Core()


class OpenVino(Backend):
    """Intel's runtime, which reads ONNX files as they are and fuses Q/DQ by itself.

    `precision` is the hint for what is float: f32, bf16, f16, or None for OpenVINO's own choice, which is bf16 on
    processors that multiply it.
    """

    name, module, automatic, revision = "openvino", "openvino", True, 6

    def __init__(self, precision: str | None = "f32") -> None:
        self._precision = precision

    def why_not(self, model: OnnxModel, device: Device) -> str | None:
        """It runs every ONNX file on the CPU when it is installed. Files for TensorRT tell nothing about TensorRT."""
        if reason := self.missing():
            return reason
        if device.kind != "cpu":
            return f"this backend runs on the CPU, not on '{device.kind}'"
        return unfit_here(model, self.name)

    def missing(self) -> str | None:
        """Why it runs nothing: it is not installed."""
        return None if installed() else f"OpenVINO is not installed: {INSTALL}"

    @contextmanager
    def open(self, model: OnnxModel, device: Device) -> Iterator[Session]:
        """Compiles any ONNX file; FP32 runs in FP32, never silently in bfloat16.

        A file that is simulated for another runtime is computed as it says: OpenVINO fuses a Q/DQ pair between a
        convolution and an addition into the convolution, and does not round there (findings/openvino_fused_pair.sh).
        It keeps a pair that is an output.
        """
        if not installed():
            raise UnavailableError("OpenVINO is not installed", where="--backend openvino", fix=INSTALL)
        own, simulated = core(), is_simulated(model.target)
        try:
            content = _as_it_says(model.proto).SerializeToString() if simulated else model.content
            graph = own.read_model(content)
            if simulated:
                graph.add_outputs(spare_pairs(model.proto))
        except Exception as error:  # openvino raises RuntimeError and its own classes
            raise ModelError(f"OpenVINO cannot load it ({str(error).strip().splitlines()[-1]})", where=model.file_name,
                             fix="export again") from error
        yield _Session(own, graph, device, self._precision)


def _as_it_says(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph of which OpenVINO computes what `model` says.

    What a Concat makes becomes uint8 (findings/openvino_concat_of_signed.sh), and with that zero point averages must
    not pad with zeros (findings/openvino_padded_average_pool.sh). Reductions keep their axes
    (findings/openvino_dropped_axes.sh).
    """
    return with_kept_axes(without_offset_pools(with_unsigned_joins(model)))


class _Session(Session):
    """One compiled model per batch size: OpenVINO is at its best with static shapes."""

    def __init__(self, core: Any, graph: Any, device: Device, precision: str | None) -> None:
        self._core, self._graph, self._requests = core, graph, dict[int, Any]()
        self._queues = dict[tuple[int, ...], Any]()
        self._threads, self._streams = device.threads or cpu_count(), device.streams
        self._settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": self._threads}
        if precision is not None:
            self._settings["INFERENCE_PRECISION_HINT"] = precision
        if device.streams > 1:  # each would be bound to the same first processor
            self._settings["ENABLE_CPU_PINNING"] = False

    def prepare(self, images: NDArray[np.float32]) -> None:
        """Compiles for the shape of `images`."""
        self._request(images)

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised images (N, 3, H, W) -> logits (N, classes)."""
        return np.array(self._request(images).infer({0: images})[0], dtype=np.float32)

    def answers(self, batches: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Logits of each batch, in their order, by as many requests at once as there are streams."""
        waiting = deque[list[NDArray[np.float32]]]()  # the answer of each batch, once it is there
        for batch in batches:
            waiting.append([])
            self._queue(batch.shape).start_async({0: batch}, waiting[-1])  # waits until a request is free
            while waiting and waiting[0]:
                yield waiting.popleft()[0]
        for queue in self._queues.values():
            queue.wait_all()
        for answered in waiting:
            yield answered[0]

    def _queue(self, shape: tuple[int, ...]) -> Any:
        """Requests that run at once, each on one stream, compiled for the `shape` of a batch."""
        if shape not in self._queues:
            import openvino

            queue = openvino.AsyncInferQueue(self._compiled(shape, {
                "PERFORMANCE_HINT": "THROUGHPUT", "ENABLE_CPU_PINNING": False, "NUM_STREAMS": self._streams,
                "INFERENCE_NUM_THREADS": self._threads * self._streams}))
            queue.set_callback(lambda request, kept: kept.append(np.array(request.get_output_tensor(0).data,
                                                                          np.float32)))
            self._queues[shape] = queue
        return self._queues[shape]

    def floats(self, images: NDArray[np.float32]) -> str:
        """The type in which it computes what is float: f32, bf16 or f16, as the compiled model says."""
        chosen = self._request(images).get_compiled_model().get_property("INFERENCE_PRECISION_HINT").get_type_name()
        return str(chosen)

    def time(self, images: NDArray[np.float32], plan: TimingPlan) -> Latencies:
        """Wall time of one `infer`, input and output copies included."""
        request, feed = self._request(images), {0: images}
        return measure(lambda: request.infer(feed), plan, batch=len(images))

    def _request(self, images: NDArray[np.float32]) -> Any:
        if len(images) not in self._requests:
            self._requests[len(images)] = self._compiled(images.shape, {}).create_infer_request()
        return self._requests[len(images)]

    def _compiled(self, shape: tuple[int, ...], settings: dict[str, Any]) -> Any:
        graph = self._graph.clone()
        graph.reshape(list(shape))
        return self._core.compile_model(graph, "CPU", self._settings | settings)


BACKENDS = (OpenVino(),)
