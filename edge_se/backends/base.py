"""What every runtime offers. To add one: a file beside this one and a line in `table.py`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import Latencies, TimingPlan


@dataclass(frozen=True, kw_only=True)
class Device:
    """Where a model runs; `threads` 0: all processors of this process; `streams`: such sessions that run at once."""

    kind: str = "cpu"
    threads: int = 0
    streams: int = 1


class Session(Protocol):
    """A loaded model."""

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised images (N, 3, H, W) -> logits (N, classes)."""
        ...

    def time(self, images: NDArray[np.float32], plan: TimingPlan) -> Latencies:
        """Latency of running `images` as one batch, measured where the device is."""
        ...


class Backend(Protocol):
    """A runtime. `module`, where a backend has it, is the package whose import is no part of loading a model.

    A session may have `prepare(images)`, which gets it ready for that shape: compiling belongs to loading, too.
    """

    name: str

    def why_not(self, model: OnnxModel, device: Device) -> str | None:
        """Why it cannot run `model` on `device`, with the fix; None when it can."""
        ...

    def open(self, model: OnnxModel, device: Device) -> AbstractContextManager[Session]:
        """Loads the model."""
        ...
