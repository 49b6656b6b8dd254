"""onnxruntime on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from platform import machine
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edge_se.backends.base import Device, Session
from edge_se.core.environment import cpu_count
from edge_se.core.errors import ModelError
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import Latencies, TimingPlan, measure


class OnnxRuntime:
    """Microsoft's runtime with its CPU execution provider."""

    name = "onnxruntime"

    def why_not(self, model: OnnxModel, device: Device) -> str | None:
        """It runs every ONNX file on the CPU; a file written for TensorRT would be slower than FP32 there."""
        if device.kind != "cpu":
            return f"this backend runs on the CPU, not on '{device.kind}'"
        if model.target.startswith("tensorrt"):
            return "written for TensorRT: onnxruntime has no fast kernels for it; its latency is measured on the device"
        if model.target == "openvino":
            return "written for OpenVINO: onnxruntime has no fast kernels for it; use --backend openvino"
        if model.target == "arm" and not machine().startswith(("aarch64", "arm")):
            return "written for Arm: its latency is measured there"
        return None

    @contextmanager
    def open(self, model: OnnxModel, device: Device) -> Iterator[Session]:
        """Loads any ONNX file, also one for another target: its accuracy is right, only its speed tells nothing."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = device.threads or cpu_count()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if model.target == "tensorrt-fp16":
            # Its fusions multiply two FP16 scales into one that FP16 cannot hold; TensorRT does so in FP32.
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # Spinning threads between runs would take the processor from whatever is measured next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if device.threads == 1 else "0")
        try:
            session = onnxruntime.InferenceSession(model.content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions share no base class
            raise ModelError(f"onnxruntime cannot load it ({str(error).splitlines()[0]})", where=model.file_name,
                             fix="export again") from error
        yield _Session(session, model)


class _Session:
    def __init__(self, session: Any, model: OnnxModel) -> None:
        self._session, self._input = session, model.input_name
        self._output = session.get_outputs()[0].name

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised images (N, 3, H, W) -> logits (N, classes)."""
        return np.asarray(self._session.run([self._output], {self._input: images})[0], dtype=np.float32)

    def time(self, images: NDArray[np.float32], plan: TimingPlan) -> Latencies:
        """Wall time of `session.run`, input and output copies included."""
        feed, outputs, run = {self._input: images}, [self._output], self._session.run
        return measure(lambda: run(outputs, feed), plan, batch=len(images))
