"""The peers of `bench/classifiers.py` with their defaults: logits of their INT8 file, each in its own runtime."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
Peer = Callable[[Path, Images, Images], NDArray[np.float32]]


def ort(source: Path, calibration: Images, evaluation: Images) -> NDArray[np.float32]:
    """onnxruntime's `quantize_static` after `quant_pre_process`, as its documents advise, in onnxruntime."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self, name: str) -> None:
            self.feeds = iter([{name: image[None]} for image in calibration])

        def get_next(self) -> dict[str, Images] | None:
            return next(self.feeds, None)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    with tempfile.TemporaryDirectory() as folder:
        prepared, out = Path(folder, "prepared.onnx"), Path(folder, "int8.onnx")
        try:
            quant_pre_process(source, prepared)
        except Exception:  # its symbolic shape inference does not know every graph
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
        name = onnxruntime.InferenceSession(prepared, options, providers=["CPUExecutionProvider"]).get_inputs()[0].name
        quantize_static(prepared, out, Reader(name))
        session = onnxruntime.InferenceSession(out, options, providers=["CPUExecutionProvider"])
        return np.concatenate([session.run(None, {name: image[None]})[0] for image in evaluation])


def nncf(source: Path, calibration: Images, evaluation: Images) -> NDArray[np.float32]:
    """`nncf.quantize` on OpenVINO's own representation, in OpenVINO."""
    import openvino

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import nncf as peer

        model = openvino.Core().read_model(source)
        model.reshape([1, *calibration.shape[1:]])
        quantized = peer.quantize(model, peer.Dataset([image[None] for image in calibration]),
                                  subset_size=len(calibration))
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(quantized, "CPU", settings).create_infer_request()
    return np.concatenate([np.array(request.infer({0: image[None]})[0]) for image in evaluation])


PEERS: dict[str, Peer] = {"onnxruntime": ort, "nncf": nncf}
