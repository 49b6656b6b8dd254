"""The runtimes of the compatibility table: how each opens a file on one thread, and where it tells its kernels.

To add one: a `Runtime` in `RUNTIMES`; one that no backend of edge-se drives has a `Session` in `sessions.py`.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.compatibility import sessions
from edge_se.backends import opencv, openvino, tensorrt, tflm
from edge_se.backends.base import Device, Session
from edge_se.backends.machines.choice import machine_of
from edge_se.backends.machines.web_files import find_runtime
from edge_se.backends.openvino import OpenVino
from edge_se.backends.table import BACKENDS
from edge_se.core.environment import importable, version_of
from edge_se.core.errors import ModelError, UnavailableError
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.tflite import flatbuffer
from edge_se.graph.tflite.conversion import to_tflite

ONE = Device(threads=1)
INTEGER = ("QLinearConv", "ConvInteger")
CONVOLUTIONS = ("Conv", "FusedConv", "NhwcFusedConv", *INTEGER)
Layers = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """`version` is None where it is not here, and `install` what brings it.

    `open` None: it loads files and runs none here, and `layers` raises ModelError for what it refuses. `layers` tells
    what runs in integers, as `cell.py` documents. `images`: it is given at most so many. `timed` False: its times mean
    nothing. `form`: what is done to a file before it is given to it.
    """

    name: str
    shown: str
    version: Callable[[], str | None]
    install: str
    open: Callable[[OnnxModel], AbstractContextManager[Session]] | None
    layers: Callable[[OnnxModel, Session | None], Layers]
    images: int = 1000
    timed: bool = True
    form: str | None = None


def not_told(model: OnnxModel, session: Session | None) -> Layers:
    """Of a runtime that tells nothing of its kernels."""
    return {"layers": None, "int8_layers": None, "seen_in": None}


def in_onnxruntime(model: OnnxModel, session: Session | None) -> Layers:
    """By the operators of its profile."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.enable_profiling = 3, True
    with TemporaryDirectory(prefix="edge-se-") as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        own = onnxruntime.InferenceSession(model.content, options, providers=["CPUExecutionProvider"])
        own.run(None, {own.get_inputs()[0].name: sessions.blank(model)})
        events = json.loads(Path(own.end_profiling()).read_text())
    ran = Counter(event["args"]["op_name"] for event in events if "op_name" in event.get("args", {})
                  and event["name"].endswith("_kernel_time"))
    return {"layers": sum(ran[name] for name in CONVOLUTIONS), "int8_layers": sum(ran[name] for name in INTEGER),
            "seen_in": "the operators of its profile"}


def in_openvino(model: OnnxModel, session: Session | None) -> Layers:
    """By the precisions of its execution graph."""
    core = openvino.core()
    graph = core.read_model(model.content)
    graph.reshape(list(sessions.blank(model).shape))
    told = [operation.get_rt_info() for operation in core.compile_model(graph, "CPU").get_runtime_model().get_ops()]
    types = [one["runtimePrecision"].astype(str) for one in told if one["layerType"].astype(str) == "Convolution"]
    return {"layers": len(types), "int8_layers": sum(kind in ("u8", "i8") for kind in types),
            "seen_in": "the precisions of its execution graph"}


def in_opencv(model: OnnxModel, session: Session | None) -> Layers:
    """By the types of its layers."""
    assert session is not None
    told = session.tells()
    return {"layers": told["convolutions"], "int8_layers": told["int8_convolutions"],
            "seen_in": "the types of its layers"}


def in_tflite(model: OnnxModel, session: Session | None) -> Layers:
    """By the types of their weights: neither LiteRT nor TFLM changes a type of a file."""
    schema = flatbuffer.schema()
    file = schema.ModelT.InitFromPackedBuf(to_tflite(model))
    kinds = {schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D}
    graph = file.subgraphs[0]
    types = [graph.tensors[operator.inputs[1]].type for operator in graph.operators
             if file.operatorCodes[operator.opcodeIndex].builtinCode in kinds]
    return {"layers": len(types), "int8_layers": types.count(schema.TensorType.INT8),
            "seen_in": "the types in the `.tflite` file that edge-se makes of each"}


def in_tract(model: OnnxModel, session: Session | None) -> Layers:
    """By its profile: products of integers would have taken the DequantizeLinear in front of them in."""
    assert isinstance(session, sessions.Tract)
    ran = session.operators(sessions.blank(model))
    floats = model.precision != "int8" or ran["DequantizeLinearF32"] > 0
    return {"layers": ran["OptMatMul"], "int8_layers": 0 if floats else None,
            "seen_in": "the operators of its profile: each DequantizeLinear stays one"}


def in_tensorrt(model: OnnxModel, session: Session | None) -> Layers:
    """By its builder's log; ModelError with its words where it refuses the file."""
    refusal, promise = tensorrt.compiled(model)
    if refusal is not None:
        raise ModelError(refusal, where=model.file_name)
    return {"int8_mac_share": promise.share if promise else None,
            "seen_in": f"the layers of its builder's log, for {tensorrt.CAPABILITY}"}


@contextmanager
def in_node(model: OnnxModel) -> Iterator[Session]:
    """onnxruntime-web in a node of its own."""
    with machine_of("web") as machine, machine.backends["onnxruntime-web"].open(model, machine.device) as session:
        yield session


def web_version() -> str | None:
    """Of the onnxruntime-web that is found, where node is here to run it."""
    try:
        package = find_runtime(None).parent / "package.json"
    except UnavailableError:
        return None
    return str(json.loads(package.read_text())["version"]) if shutil.which("node") and package.is_file() else None


RUNTIMES = {runtime.name: runtime for runtime in (
    Runtime(name="onnxruntime", shown="onnxruntime", version=lambda: version_of("onnxruntime"),
            install="pip install onnxruntime", open=lambda model: BACKENDS["onnxruntime"].open(model, ONE),
            layers=in_onnxruntime),
    Runtime(name="openvino", shown="OpenVINO", version=lambda: version_of("openvino"), install=openvino.INSTALL,
            open=lambda model: OpenVino(None).open(model, ONE), layers=in_openvino),
    Runtime(name="onnxruntime-web", shown="onnxruntime-web", version=web_version,
            install="npm install onnxruntime-web, and node", open=in_node, layers=not_told),
    Runtime(name="opencv", shown="OpenCV", version=lambda: None if opencv.missing() else opencv.version(),
            install=opencv.INSTALL, open=lambda model: BACKENDS["opencv"].open(model, ONE), layers=in_opencv),
    Runtime(name="litert", shown="LiteRT",
            version=lambda: None if flatbuffer.missing() else version_of("ai-edge-litert"), install=flatbuffer.INSTALL,
            open=lambda model: BACKENDS["litert"].open(model, ONE), layers=in_tflite),
    Runtime(name="tflm", shown="TFLM", version=lambda: None if flatbuffer.missing() else version_of("tflite-micro"),
            install=tflm.INSTALL, open=sessions.in_tflm, layers=in_tflite, images=100, timed=False),
    Runtime(name="tract", shown="tract", version=lambda: version_of("tract"), install="pip install tract",
            open=sessions.in_tract, layers=in_tract, form="--batch 1"),
    Runtime(name="tensorrt-rtx", shown="TensorRT for RTX",
            version=lambda: version_of("tensorrt-rtx") if importable(tensorrt.PACKAGE) else None,
            install="pip install 'edge-se[rtx]'", open=None, layers=in_tensorrt),
    Runtime(name="arm64", shown="onnxruntime on arm64", version=sessions.emulated_version,
            install="apt install qemu-user-static debootstrap", open=sessions.emulated, layers=not_told, images=16,
            timed=False),
)}
