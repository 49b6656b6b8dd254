"""Sessions of runtimes that edge-se has no backend for: tract, TFLM, and arm64's onnxruntime under emulation."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Session
from edge_se.backends.tflm import ARENA
from edge_se.core.errors import ModelError, UnavailableError
from edge_se.graph.fixed_batch import with_fixed_batch
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.tflite.conversion import to_tflite
from edge_se.measure.timing import Latencies, TimingPlan, measure

ARM64 = Path(__file__).parents[2] / "tests" / "arm64"
LIMIT_S, LATE = 90, 124  # the second is what `timeout` says then
EMULATOR = "qemu-aarch64-static"


def blank(model: OnnxModel) -> NDArray[np.float32]:
    """One image of zeros of the size that `model` takes."""
    return np.zeros((1, *(size or 32 for size in model.input_shape[1:])), np.float32)


class Tract(Session):
    """One image at once, on one thread: tract starts no other."""

    def __init__(self, runnable: Any) -> None:
        self._runnable = runnable

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised images (N, 3, H, W) -> logits (N, classes)."""
        return np.concatenate([self._one(images[at:at + 1]) for at in range(len(images))])

    def time(self, images: NDArray[np.float32], plan: TimingPlan) -> Latencies:
        """Wall time of one `run`, input and output copies included."""
        return measure(lambda: self._one(images), plan, batch=len(images))

    def operators(self, image: NDArray[np.float32]) -> Counter[str]:
        """How often it runs each of its operators."""
        told = json.loads(self._runnable.profile_json([image]))
        return Counter(node["op_name"] for node in told["nodes"])

    def _one(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.array(self._runnable.run([image])[0].to_numpy(), np.float32)


@contextmanager
def in_tract(model: OnnxModel) -> Iterator[Session]:
    """The file with a batch of 1, since tract refuses a dynamic one; ModelError with its words."""
    import tract

    with TemporaryDirectory(prefix="edge-se-") as folder:
        path = Path(folder) / model.file_name
        path.write_bytes(with_fixed_batch(model, 1).content)
        try:
            runnable = tract.onnx().load(str(path)).into_model().into_runnable()
        except tract.TractError as error:
            raise ModelError(str(error).partition("Stack backtrace")[0], where=path) from error
    yield Tract(runnable)


class Micro(Session):
    """One image at once, in TFLM's own interpreter."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised images (N, 3, H, W) -> logits (N, classes)."""
        logits = []
        for image in images:
            self._interpreter.set_input(np.ascontiguousarray(image.transpose(1, 2, 0))[None], 0)
            self._interpreter.invoke()
            logits.append(self._interpreter.get_output(0)[0].copy())
        return np.array(logits, np.float32)

    def time(self, images: NDArray[np.float32], plan: TimingPlan) -> Latencies:
        """Never: its kernels for this machine are plain loops, for tests."""
        raise UnavailableError("is not timed", where="TFLM")


@contextmanager
def in_tflm(model: OnnxModel) -> Iterator[Session]:
    """The `.tflite` file of `model`; ModelError with TFLM's words."""
    from tflite_micro.python.tflite_micro import runtime

    content = to_tflite(model)
    try:
        yield Micro(runtime.Interpreter.from_bytes(content, arena_size=ARENA))
    except (RuntimeError, ValueError) as error:
        raise ModelError(str(error), where=model.file_name) from error


class Emulated(Session):
    """All images at once, in a process of arm64's Python; see tests/arm64/run.sh."""

    def __init__(self, model: OnnxModel) -> None:
        self._model = model

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised images (N, 3, H, W) -> logits (N, classes); ModelError with the last word of what failed."""
        with TemporaryDirectory(prefix="edge-se-") as name:
            folder = Path(name)
            (folder / self._model.file_name).write_bytes(self._model.content)
            np.save(folder / "images.npy", images)
            # `timeout` ends the emulator, too, which would outlive a cell that is ended.
            done = subprocess.run(["timeout", str(LIMIT_S), ARM64 / "run.sh", "exec", ARM64 / "classes.py",
                                   folder / "images.npy", folder, folder / self._model.file_name],
                                  capture_output=True, text=True)
            if done.returncode:
                words = [f"no answer in {LIMIT_S} s"] if done.returncode == LATE else done.stderr.strip().splitlines()
                raise ModelError(words[-1], where=self._model.file_name)
            return np.asarray(np.load(folder / f"{self._model.file_name}.npy"), np.float32)

    def time(self, images: NDArray[np.float32], plan: TimingPlan) -> Latencies:
        """Never: the time of an emulated processor is nobody's."""
        raise UnavailableError("is not timed", where="arm64")


@contextmanager
def emulated(model: OnnxModel) -> Iterator[Session]:
    """Nothing is loaded before the run."""
    yield Emulated(model)


def emulated_version() -> str | None:
    """Of the onnxruntime that run.sh installs for arm64, where the emulator is here."""
    pinned = re.search(r"\bonnxruntime=([\d.]+)", (ARM64 / "run.sh").read_text())
    return pinned[1] if pinned and shutil.which(EMULATOR) else None
