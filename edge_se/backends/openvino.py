"""OpenVINO on the CPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Backend, Device, Session, unfit_here
from edge_se.core.environment import cpu_count, importable
from edge_se.core.errors import ModelError, UnavailableError
from edge_se.data.splits import filled
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import Latencies, TimingPlan, measure

PART = 4  # images of a request among several that run at once
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

    name, module, automatic = "openvino", "openvino", True

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
        """Compiles any ONNX file; FP32 runs in FP32, never silently in bfloat16."""
        if not installed():
            raise UnavailableError("OpenVINO is not installed", where="--backend openvino", fix=INSTALL)
        own = core()
        try:
            graph = own.read_model(model.content)
        except Exception as error:  # openvino raises RuntimeError and its own classes
            raise ModelError(f"OpenVINO cannot load it ({str(error).strip().splitlines()[-1]})", where=model.file_name,
                             fix="export again") from error
        yield _Session(own, graph, device, self._precision)


class _Session(Session):
    """One compiled model per batch size: OpenVINO is at its best with static shapes."""

    def __init__(self, core: Any, graph: Any, device: Device, precision: str | None) -> None:
        self._core, self._graph, self._requests = core, graph, dict[int, Any]()
        self._queues = dict[tuple[int, ...], Any]()
        self._settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY",
                                          "INFERENCE_NUM_THREADS": device.threads or cpu_count()}
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
        """Logits of each batch, in their order: a few images at a time, on as many streams as OpenVINO thinks best.

        The answers are those of `run`. One request on all processors waits for the slowest of them at each layer.
        """
        for batch in batches:
            part = PART if self._graph.input(0).partial_shape[0].is_dynamic else len(batch)
            queue = self._queue((part, *batch.shape[1:]))
            made: list[list[NDArray[np.float32]]] = [[] for _ in range(0, len(batch), part)]
            for position, kept in enumerate(made):
                queue.start_async({0: filled(batch[position * part:][:part], part)}, kept)
            queue.wait_all()
            yield np.concatenate([kept[0] for kept in made])[: len(batch)].astype(np.float32)

    def _queue(self, shape: tuple[int, ...]) -> Any:
        """Requests that run at once, compiled for the `shape` of each."""
        if shape not in self._queues:
            import openvino

            graph = self._graph.clone()
            graph.reshape(list(shape))
            queue = openvino.AsyncInferQueue(self._core.compile_model(graph, "CPU", self._settings | {
                "PERFORMANCE_HINT": "THROUGHPUT", "ENABLE_CPU_PINNING": False}))
            queue.set_callback(lambda request, kept: kept.append(np.array(request.get_output_tensor(0).data)))
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
            graph = self._graph.clone()
            graph.reshape(list(images.shape))
            self._requests[len(images)] = self._core.compile_model(graph, "CPU", self._settings).create_infer_request()
        return self._requests[len(images)]


BACKENDS = (OpenVino(),)
