"""onnxruntime's other execution providers, where the installed build of onnxruntime has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Backend, Device, Session, unfit_here
from edge_se.core.environment import cpu_count
from edge_se.core.errors import ModelError, UnavailableError
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import Latencies, TimingPlan, measure

GPU = "pip install onnxruntime-gpu in place of onnxruntime"
NO_FALLBACK = ("session.disable_cpu_ep_fallback", "1")
PROVIDERS = {  # short name -> onnxruntime's name, what brings it
    "cuda": ("CUDAExecutionProvider", GPU),
    "tensorrt": ("TensorrtExecutionProvider", GPU),
    "openvino": ("OpenVINOExecutionProvider", "pip install onnxruntime-openvino in place of onnxruntime"),
    "dnnl": ("DnnlExecutionProvider", "build onnxruntime with --use_dnnl"),
    "xnnpack": ("XnnpackExecutionProvider", "build onnxruntime with --use_xnnpack"),
    "coreml": ("CoreMLExecutionProvider", "use onnxruntime on macOS"),
    "directml": ("DmlExecutionProvider", "pip install onnxruntime-directml in place of onnxruntime, on Windows"),
}


def missing(name: str) -> str | None:
    """Why the provider of this short name is missing, with the package that brings it; None when it is there."""
    import onnxruntime

    provider, install = PROVIDERS[name]
    if provider in onnxruntime.get_available_providers():
        return None
    return f"the installed onnxruntime has no {provider}: {install}"


class OnnxRuntimeProvider(Backend):
    """One provider alone. It refuses a graph that it can run only in part, since the rest would run on the CPU."""

    module, compared = "onnxruntime", True

    def __init__(self, provider: str) -> None:
        self.name, self._provider = f"onnxruntime-{provider}", provider

    def why_not(self, model: OnnxModel, device: Device) -> str | None:
        """It runs files for every target and its own; what the provider cannot take shows when it loads."""
        if device.kind != "cpu":
            return f"this backend runs in this process, not on '{device.kind}'"
        return self.missing() or unfit_here(model, self.name)

    def missing(self) -> str | None:
        """Why the installed onnxruntime lacks the provider; None when it has it."""
        return missing(self._provider)

    @contextmanager
    def open(self, model: OnnxModel, device: Device) -> Iterator[Session]:
        """Loads it; ModelError where onnxruntime would fall back to the CPU, wholly or for a part of the graph."""
        if reason := missing(self._provider):
            raise UnavailableError(reason, where=f"--backend {self.name}")
        import onnxruntime

        provider = PROVIDERS[self._provider][0]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = device.threads or cpu_count()
        options.log_severity_level = 3
        options.add_session_config_entry(*NO_FALLBACK)
        try:
            session = onnxruntime.InferenceSession(model.content, options, providers=[provider])
        except Exception as error:  # onnxruntime's own exceptions share no base class
            raise ModelError(f"{provider} does not take it ({str(error).splitlines()[0]})", where=model.file_name,
                             fix="choose another --backend, or install what the provider needs") from error
        if session.get_providers()[0] != provider:  # its libraries did not load, and onnxruntime went on without
            raise ModelError(f"{provider} does not start here", where=model.file_name,
                             fix="install its libraries (CUDA and cuDNN for CUDA), or choose another --backend")
        yield _Session(session)


class _Session(Session):
    def __init__(self, session: Any) -> None:
        self._session = session
        self._input, self._output = session.get_inputs()[0].name, session.get_outputs()[0].name

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised images (N, 3, H, W) -> logits (N, classes)."""
        return np.asarray(self._session.run([self._output], {self._input: images})[0], dtype=np.float32)

    def time(self, images: NDArray[np.float32], plan: TimingPlan) -> Latencies:
        """Wall time of `session.run`, copies to and from the accelerator included."""
        feed, outputs, run = {self._input: images}, [self._output], self._session.run
        return measure(lambda: run(outputs, feed), plan, batch=len(images))


BACKENDS = tuple(OnnxRuntimeProvider(name) for name in PROVIDERS)
