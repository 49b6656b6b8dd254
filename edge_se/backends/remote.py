"""Runtimes of a device that an agent drives: TensorRT, TensorRT for RTX, onnxruntime, also in a browser, and LiteRT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Backend, Device, Session
from edge_se.backends.machines.link import Link
from edge_se.backends.shards import shards_of
from edge_se.data.images import Images
from edge_se.device.agent.facts import BUILT
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.targets.table import rules_of, runs_in
from edge_se.graph.tflite.conversion import to_tflite
from edge_se.measure.timing import Latencies, TimingPlan

RUN_IMAGES = 64  # sent at once
PROFILE_RUNS = 50
_NUMBERS = count()


class RemoteRuntime(Backend):
    """One runtime of one device; `facts` is what its agent tells of the device."""

    compared = True

    def __init__(self, link: Link, name: str, facts: Mapping[str, Any]) -> None:
        self.name, self._link, self._facts = name, link, facts
        self.gpu = name in BUILT
        self.automatic = bool(facts["runtimes"].get(name, {}).get("automatic", True))

    def why_not(self, model: OnnxModel, device: Device) -> str | None:
        """What the device lacks, or that the file is for another runtime. TensorRT tells the rest when it builds."""
        if device.kind != "remote":
            return f"this backend runs on a device behind an agent, not on '{device.kind}'"
        told = self._facts["runtimes"].get(self.name, {"reason": "its agent knows nothing of it"})
        if "reason" in told:
            return f"{self.name}: {told['reason']}{' (' + told['fix'] + ')' if told.get('fix') else ''}"
        return runs_in(model.target, self.name, str(told["version"]), machine=self._facts["machine"],
                       flags=self._facts["flags"], opset=model.opset)

    def measured_by(self, model: OnnxModel) -> dict[str, Any]:
        """What its agent tells; an engine on a GPU that is not the board's own is the GPU's."""
        gpu = (self._facts.get("gpu") or {}) if self.gpu and not self._facts["jetson"] else {}
        return {"runtime": self.name, "version": self._facts["runtimes"][self.name].get("version"),
                "device": gpu.get("name") or self._facts["name"], "floats": self._floats(model)}

    def _floats(self, model: OnnxModel) -> str:
        """The types in which what is not INT8 may be computed there.

        TensorRT takes TF32 for FP32 unless it is told otherwise, from compute capability 8.0 on. Below version 10 it
        chooses between the types that a file's precision allows.
        """
        half = model.precision == "fp16" or model.target == "tensorrt-fp16"
        if not self.gpu:  # on Arm onnxruntime has kernels of its own for FP16, on x86 it has none
            return "f32 or f16" if half and self._facts["machine"] == "aarch64" else "f32"
        single = "f32 or tf32" if tuple((self._facts.get("gpu") or {}).get("capability") or ()) >= (8, 0) else "f32"
        major = int(str(self._facts["runtimes"][self.name]["version"]).partition(".")[0])
        if self.name == "tensorrt" and major < 10:
            return single if model.precision == "fp32" else f"{single} or f16"
        return "f16" if half else single

    @contextmanager
    def open(self, model: OnnxModel, device: Device) -> Iterator[Session]:
        """Sends the file unless the device has it; TensorRT builds its engine when the batch size is known."""
        session = _RemoteSession(self._link, self.name, model, device)
        try:
            yield session
        finally:
            session.close()


class _RemoteSession(Session):
    """Opened on the device at the first use: an engine is built for one batch size. A second size gets its own."""

    def __init__(self, link: Link, runtime: str, model: OnnxModel, device: Device) -> None:
        self._link, self._runtime, self._model, self._device = link, runtime, model, device
        self._names = dict[int, str]()
        self._engines = dict[int, dict[str, Any]]()
        self._told = dict[str, Any]()

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised images (N, 3, H, W) -> logits (N, classes), through the engine that was opened last if one is.

        That is the one that was timed last: of several batch sizes each has its own, and they may answer differently.
        """
        name = next(reversed(self._names.values()), None) or self._opened(min(len(images), RUN_IMAGES))
        outputs = []
        for start in range(0, len(images), RUN_IMAGES):
            part = images[start : start + RUN_IMAGES]
            content, told = _sent(part)
            answer, logits = self._link.ask("run", content, session=name, **told)
            outputs.append(np.frombuffer(logits, "<f4").reshape(answer["shape"]).astype(np.float32))
        return np.concatenate(outputs)

    def logits(self, images: Images, batch: int, fixed: bool = False) -> Iterator[NDArray[np.float32]]:
        """Shard by shard, by the engine for this batch size; a dropped connection costs a shard."""
        how = replace(images.preprocessing, labels=()).document()
        for shard in shards_of(images):
            answer, logits = self._link.ask_about(
                shard.sha256, shard.content, "answer", session=self._opened(batch), shape=shard.shape, batch=batch,
                fixed=fixed, preprocessing=how)
            yield np.frombuffer(logits, "<f4").reshape(answer["shape"]).astype(np.float32)

    def time(self, images: NDArray[np.float32], plan: TimingPlan) -> Latencies:
        """Measured on the device; the network is not part of it."""
        content, told = _sent(images)
        answer, nanoseconds = self._link.ask("time", content, session=self._opened(len(images)), **told, **plan.fields)
        self._told |= answer.get("tells", {})
        return Latencies.of(np.frombuffer(nanoseconds, "<i8"), answer, len(images))

    def profile(self, images: NDArray[np.float32]) -> dict[str, Any] | None:
        """{"layers", "profile"} of a TensorRT engine; None when the runtime tells nothing about its layers."""
        if self._runtime not in BUILT:
            return None
        content, told = _sent(images)
        answer, _ = self._link.ask("profile", content, session=self._opened(len(images)), runs=PROFILE_RUNS, **told)
        return {"layers": answer["layers"], "profile": answer["profile"]}

    def tells(self) -> dict[str, Any]:
        """What a page tells: the provider that runs it, its memory, the clock's resolution, the runs of a sample."""
        return dict(self._told)

    def engine(self, batch: int) -> dict[str, Any] | None:
        """Key of TensorRT's engine for this batch size, whether it was cached, and the seconds that it took."""
        return self._engines.get(batch) or None

    def close(self) -> None:
        """Frees it there."""
        for name in self._names.values():
            self._link.close(name)

    def _opened(self, batch: int) -> str:
        if self._runtime not in BUILT:
            batch = 0  # one session takes every size
        if batch not in self._names:
            name = f"{self._model.file_name}-{next(_NUMBERS)}"
            content = to_tflite(self._model) if self._runtime == "litert" else self._model.content
            answer = self._link.open(name, content, runtime=self._runtime, threads=self._device.threads,
                                     target=self._model.target, rules=rules_of(self._model.target),
                                     opset=self._model.opset, precision=self._model.precision, batch=batch,
                                     axes=self._model.axes)
            self._names[batch], self._engines[batch] = name, answer.get("engine", {})
            self._told |= answer.get("tells", {})
        return self._names[batch]


def remote_runtimes(link: Link, facts: Mapping[str, Any]) -> dict[str, RemoteRuntime]:
    """All that its agent may drive, in the order in which `auto` takes them."""
    return {name: RemoteRuntime(link, name, facts) for name in facts["runtimes"]}


def _sent(images: NDArray[Any]) -> tuple[bytes, dict[str, Any]]:
    """Bytes of the images, and what the agent must know to read them: a model takes float32 or uint8."""
    kind = "|u1" if images.dtype == np.uint8 else "<f4"
    return np.ascontiguousarray(images, dtype=kind).tobytes(), {"shape": images.shape, "dtype": kind}
