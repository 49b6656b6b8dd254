"""What every runtime offers. To add one: a file beside this one; `table.py` finds it."""

from __future__ import annotations

import platform
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core import environment
from edge_se.core.measured_by import measured_by
from edge_se.data.images import Images
from edge_se.data.splits import filled
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.targets.table import runs_in
from edge_se.measure.timing import Latencies, TimingPlan


@dataclass(frozen=True, kw_only=True)
class Device:
    """Where a model runs; `threads` 0: all processors of this process.

    `streams`: so many run at once, on `threads` each: sessions, or batches of `Session.answers`.
    """

    kind: str = "cpu"
    threads: int = 0
    streams: int = 1


def whole_machine() -> Device:
    """One stream on each processor: where many batches are answered."""
    return Device(threads=1, streams=environment.cpu_count())


class Session(ABC):
    """A loaded model."""

    @abstractmethod
    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised images (N, 3, H, W) -> logits (N, classes)."""

    @abstractmethod
    def time(self, images: NDArray[np.float32], plan: TimingPlan) -> Latencies:
        """Latency of running `images` as one batch, measured where the device is."""

    def answers(self, batches: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Logits of each batch, in their order. A runtime of this machine computes `streams` batches at once.

        Batches are of one size, but for the last; the bits of their answers do not depend on `streams`.
        """
        for batch in batches:
            yield self.run(batch)

    def logits(self, images: Images, batch: int, fixed: bool = False) -> Iterator[NDArray[np.float32]]:
        """Logits of all `images` in their order, part after part. `fixed`: the graph takes batches of that size alone.

        A runtime of another machine gets pixels once and keeps them there.
        """
        left = len(images)
        for answer in self.answers(filled(part, batch if fixed else None) for part in images.batches(batch)):
            yield answer[:left]
            left -= len(answer)

    def floats(self, images: NDArray[np.float32]) -> str:
        """The type in which it computes what is not INT8 of the shape of `images`: f32, bf16 or f16."""
        return "f32"

    def prepare(self, images: NDArray[np.float32]) -> None:  # noqa: B027 - most runtimes are ready when they are open
        """Prepares the session for the shape of `images`, if that is still to do: compiling belongs to loading."""

    def profile(self, images: NDArray[np.float32]) -> dict[str, Any] | None:
        """{"layers", "profile"} of running `images`; None when the runtime tells nothing about its layers."""
        return None

    def tells(self) -> dict[str, Any]:
        """More fields of its row, of what it has run so far: what the device alone can tell."""
        return {}

    def engine(self, batch: int) -> dict[str, Any] | None:
        """The engine that was built for this batch size, with its key; None when the runtime builds none."""
        return None


class Backend(ABC):
    """A runtime.

    `module` is its package; importing it is not part of loading a model. `automatic`: `auto` may take it. Others must
    be named, since nobody deploys from them or they may need a GPU. `gpu`: inferences take microseconds.
    `compared`: `bench` counts the answers that differ from those of onnxruntime on this CPU. `revision`: to be raised
    when it gives another graph of the same file to its package, so that answers kept from before are not used.
    """

    name: str
    module: str = "numpy"
    automatic: bool = False
    gpu: bool = False
    compared: bool = False
    revision: int = 1

    @abstractmethod
    def why_not(self, model: OnnxModel, device: Device) -> str | None:
        """Why it cannot run `model` on `device`, with the fix; None when it can."""

    @abstractmethod
    def open(self, model: OnnxModel, device: Device) -> AbstractContextManager[Session]:
        """Loads the model."""

    def read_part(self, model: OnnxModel) -> OnnxModel:
        """The part of a file that it reads, for the measurement of its memory. The default is all of it."""
        return model

    def measured_by(self, model: OnnxModel) -> dict[str, Any]:
        """`measured_by` of the accuracy that it gives `model`: runtime, version, device and type of floats."""
        return measured_by(self.name, package=self.module, floats="f32")

    def missing(self) -> str | None:
        """Why it runs no file here, with the command that installs it; None when it is installed."""
        return None


def unfit_here(model: OnnxModel, runtime: str) -> str | None:
    """Why this machine should not run `model` in `runtime`, as its target says; None when it should."""
    return runs_in(model.target, runtime, machine=platform.machine(), flags=environment.processor_flags())
