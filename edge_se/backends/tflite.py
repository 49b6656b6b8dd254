"""LiteRT on the CPU, with XNNPACK: it runs the `.tflite` file that is written of each ONNX graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Backend, Device, Session, unfit_here
from edge_se.core.ahead import ahead
from edge_se.core.errors import ModelError, UnavailableError
from edge_se.device.agent import AgentError, LiteRtRunner, sampled
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.tflite.conversion import to_tflite
from edge_se.graph.tflite.flatbuffer import INSTALL, is_tflite, missing
from edge_se.measure.timing import Latencies, TimingPlan


class LiteRt(Backend):
    """Driven by the same code here and on a device."""

    name, module, automatic, compared, revision = "litert", "ai_edge_litert", True, True, 2

    def why_not(self, model: OnnxModel, device: Device) -> str | None:
        """It runs float files and those for it; a graph that LiteRT has no form for is refused when it is opened."""
        if device.kind != "cpu":
            return f"this backend runs on the CPU, not on '{device.kind}'"
        if model.precision == "fp16":
            return "runs no FP16 file: XNNPACK computes in FP16 on Arm, from FP32 files"
        return self.missing() or unfit_here(model, self.name)

    def missing(self) -> str | None:
        """Why it runs nothing: it is not installed."""
        reason = missing()
        return reason and f"{reason}: {INSTALL}"

    def read_part(self, model: OnnxModel) -> OnnxModel:
        """The `.tflite` file, which a device reads: writing it is no part of loading."""
        return replace(model, content=to_tflite(model))

    @contextmanager
    def open(self, model: OnnxModel, device: Device) -> Iterator[Session]:
        """Writes the `.tflite` file of `model`, unless it is one, and loads it, once for each stream."""
        if reason := self.missing():
            raise UnavailableError(reason, where=f"--backend {self.name}")
        written = is_tflite(model.content)  # where memory and loading are measured: no answer matters there
        content, axes = (model.content, None) if written else (to_tflite(model), model.axes)
        try:
            runners = [LiteRtRunner(content, device.threads, axes) for _ in range(device.streams)]
        except AgentError as error:
            raise ModelError(error.what, where=model.file_name, fix=error.fix) from error
        yield _Session(runners)


class _Session(Session):
    """One interpreter for each stream: none runs twice at once."""

    def __init__(self, runners: list[LiteRtRunner]) -> None:
        self._runners = runners

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised images (N, 3, H, W) -> logits (N, classes)."""
        return self._runners[0].run(images)

    def answers(self, batches: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Logits of each batch, in their order, by all interpreters."""
        free = SimpleQueue[LiteRtRunner]()
        for runner in self._runners:
            free.put(runner)

        def answered(batch: NDArray[np.float32]) -> NDArray[np.float32]:
            runner = free.get()
            try:
                return runner.run(batch)
            finally:
                free.put(runner)
        return ahead(answered, batches, len(self._runners))

    def time(self, images: NDArray[np.float32], plan: TimingPlan) -> Latencies:
        """Wall time of one inference, input and output copies included; the images lie as LiteRT takes them."""
        timed = sampled(lambda: self._runners[0].time(images, plan.fields))
        return Latencies.of(timed["ns"], timed, len(images))

    def tells(self) -> dict[str, Any]:
        """How many nodes its file has, and how many of them XNNPACK computes."""
        return dict(self._runners[0].nodes())


BACKENDS = (LiteRt(),)
