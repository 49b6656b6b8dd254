"""OpenCV 5 on the CPU: the engine of its `dnn` module that computes quantized convolutions in integers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Backend, Device, Session, unfit_here
from edge_se.core.environment import cpu_count, importable
from edge_se.core.errors import ModelError, UnavailableError
from edge_se.core.measured_by import measured_by
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.view import GraphView
from edge_se.measure.promise import kept_promise
from edge_se.measure.timing import Latencies, TimingPlan, measure

INSTALL = "pip install 'edge-se[opencv]'"
OTHER = "choose another --backend"
NO_BUFFER = "bufidx >= 0"
OLDEST = 5  # earlier ones compute Q/DQ in float
CONVOLUTIONS = {"Conv2": "fp32", "Conv2Int8": "int8"}  # a layer's type -> that of its products
PRODUCTS = CONVOLUTIONS | {"Gemm": "fp32", "MatMul": "fp32", "MatMulInt8": "int8"}


def missing() -> str | None:
    """Why OpenCV 5 runs nothing here, with the fix; None when it is installed."""
    if not importable("cv2"):
        return f"OpenCV is not installed: {INSTALL}"
    return None if int(version().split(".")[0]) >= OLDEST else (
        f"OpenCV {version()} computes Q/DQ in float, {OLDEST} in integers: {INSTALL}")


def version() -> str:
    """The version that the module itself tells: several packages bring it."""
    import cv2

    return str(cv2.__version__)


class OpenCv(Backend):
    """Its new engine, which reads ONNX files as they are and fuses DequantizeLinear, Conv, QuantizeLinear by itself."""

    name, module, compared = "opencv", "cv2", True

    def why_not(self, model: OnnxModel, device: Device) -> str | None:
        """It runs float files and those that quantize what convolutions give; of others it computes all in float."""
        if device.kind != "cpu":
            return f"this backend runs on the CPU, not on '{device.kind}'"
        return self.missing() or unfit_here(model, self.name)

    def missing(self) -> str | None:
        """Why it runs nothing: it is not installed, or too old."""
        return missing()

    def measured_by(self, model: OnnxModel) -> dict[str, Any]:
        """With the version that the module tells."""
        return measured_by(self.name, floats="f32") | {"version": version()}

    @contextmanager
    def open(self, model: OnnxModel, device: Device) -> Iterator[Session]:
        """Loads any ONNX file of whose operators the new engine knows all."""
        if reason := missing():
            raise UnavailableError(reason, where=f"--backend {self.name}")
        yield OpenCvSession(_net(model), model, device.threads or cpu_count())


def _net(model: OnnxModel) -> Any:
    """`cv2.dnn.Net`; ModelError where OpenCV refuses the file, or gives an empty net for an unknown operator."""
    import cv2

    logging = cv2.utils.logging
    level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)  # it tells of operators on stderr
    try:
        net = cv2.dnn.readNetFromONNX(np.frombuffer(model.content, np.uint8), cv2.dnn.ENGINE_NEW)
    except cv2.error as error:
        raise _refusal(error.err, model) from error
    finally:
        logging.setLogLevel(level)
    if net.empty():
        raise ModelError("OpenCV's new engine does not know all of its operators", where=model.file_name, fix=OTHER)
    return net


def _refusal(words: str, model: OnnxModel) -> ModelError:
    """With OpenCV's words; instead of `bufidx >= 0` with the layer that it means (findings/opencv_gemm_bias.sh)."""
    view = GraphView(model.proto)
    for node in view.graph.node if words == NO_BUFFER else ():
        bias = view.producer.get(node.input[2]) if node.op_type == "Gemm" and len(node.input) > 2 else None
        if bias is not None and bias.op_type == "DequantizeLinear":
            return ModelError(f"OpenCV cannot load '{node.name}', a Gemm with an int32 bias and an output in INT8",
                              where=model.file_name, fix="export with --placement ends-float")
    return ModelError(f"OpenCV cannot load it ({words})", where=model.file_name, fix=OTHER)


class OpenCvSession(Session):
    """OpenCV's threads are a setting of the process, set anew for each call."""

    def __init__(self, net: Any, model: OnnxModel, threads: int) -> None:
        self._net, self._model, self._threads = net, model, threads

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised images (N, 3, H, W) -> logits (N, classes); ModelError where a layer does not run."""
        import cv2

        cv2.setNumThreads(self._threads)
        try:
            return self._forward(images)
        except cv2.error as error:
            raise ModelError(f"OpenCV cannot run it ({error.err})", where=self._model.file_name,
                             fix=OTHER) from error

    def time(self, images: NDArray[np.float32], plan: TimingPlan) -> Latencies:
        """Wall time of `setInput` and `forward`."""
        import cv2

        cv2.setNumThreads(self._threads)
        return measure(lambda: self._forward(images), plan, batch=len(images))

    def _forward(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        self._net.setInput(images)
        return np.asarray(self._net.forward(), np.float32)

    def tells(self) -> dict[str, Any]:
        """How many convolutions there are and run in INT8; of an INT8 file, which of its layers do not."""
        layers = [self._net.getLayer(index) for index in range(len(self._net.getLayerNames()))]
        convolutions = [CONVOLUTIONS[layer.type] for layer in layers if layer.type in CONVOLUTIONS]
        told: dict[str, Any] = {"convolutions": len(convolutions), "int8_convolutions": convolutions.count("int8")}
        if self._model.precision == "int8":
            runs = {layer.name: PRODUCTS[layer.type] for layer in layers if layer.type in PRODUCTS}
            told |= kept_promise(self._model.proto, runs).document()
        return told


BACKENDS = (OpenCv(),)
