"""onnxruntime on the CPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Backend, Device, Session, unfit_here
from edge_se.core.ahead import ahead
from edge_se.core.errors import ModelError
from edge_se.device.agent import AgentError, OnnxRuntimeRunner, sampled
from edge_se.device.agent.fits import rewriting
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.targets.table import rules_of
from edge_se.measure.timing import Latencies, TimingPlan


class OnnxRuntime(Backend):
    """Microsoft's runtime with its CPU execution provider, driven by the same code here and on a device."""

    name, module, automatic = "onnxruntime", "onnxruntime", True

    def why_not(self, model: OnnxModel, device: Device) -> str | None:
        """It runs every ONNX file on the CPU; those of some targets are slower than FP32 there, or saturate."""
        if device.kind != "cpu":
            return f"this backend runs on the CPU, not on '{device.kind}'"
        return unfit_here(model, self.name)

    @contextmanager
    def open(self, model: OnnxModel, device: Device) -> Iterator[Session]:
        """Loads any ONNX file, also one for another target: its accuracy is right, only its speed tells nothing."""
        try:
            runner = OnnxRuntimeRunner(model.content, device.threads, **rewriting(rules_of(model.target), self.name))
        except AgentError as error:
            raise ModelError(error.what, where=model.file_name, fix=error.fix) from error
        yield _Session(runner, device.streams)


class _Session(Session):
    def __init__(self, runner: OnnxRuntimeRunner, streams: int) -> None:
        self._runner, self._streams = runner, streams

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised images (N, 3, H, W) -> logits (N, classes)."""
        return self._runner.run(images)

    def answers(self, batches: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Logits of each batch, in their order: a session may run on several threads at once."""
        return ahead(self._runner.run, batches, self._streams)

    def time(self, images: NDArray[np.float32], plan: TimingPlan) -> Latencies:
        """Wall time of `session.run`, input and output copies included."""
        timed = sampled(lambda: self._runner.time(images, plan.fields))
        return Latencies.of(timed["ns"], timed, len(images))


BACKENDS = (OnnxRuntime(),)
