"""Trial runs of a graph in onnxruntime on the CPU: whether it loads, what it computes, what optimizing makes of it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_se.core.errors import ModelError
from edge_se.graph.onnx_model import image_input

Array = NDArray[Any]


def random_images(proto: onnx.ModelProto, count: int) -> Array:
    """`count` images of seeded noise in the size and type of the graph's input; 1 for a dynamic height or width."""
    tensor = image_input(proto).type.tensor_type
    sizes = [dim.dim_value or 1 for dim in tensor.shape.dim][1:]
    return random_input((count, *sizes), "uint8" if tensor.elem_type == onnx.TensorProto.UINT8 else "float32")


def random_input(shape: Sequence[int], dtype: str) -> Array:
    """A seeded input: float32 of a normal distribution, or uint8 from 0 to 255."""
    random = np.random.default_rng(0)
    return random.integers(0, 256, shape, np.uint8) if dtype == "uint8" else random.standard_normal(shape, np.float32)


def session_of(proto: onnx.ModelProto, path: Path, *, optimized: Path | None = None) -> Any:
    """A session without optimizations, or with the basic ones, which then also writes the graph to `optimized`.

    Raises ModelError where onnxruntime cannot load the graph; its own exceptions share no base class.
    """
    import onnxruntime

    level = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = level.ORT_ENABLE_BASIC if optimized else level.ORT_DISABLE_ALL
    if optimized:
        options.optimized_model_filepath = str(optimized)
    try:
        return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _refusal("load", error, path) from error


def outputs_of(session: Any, images: Array, path: Path, names: Sequence[str] | None = None
               ) -> list[Array]:
    """The outputs of the session for `images`: all, or those named. ModelError when it cannot run them."""
    try:
        return list(session.run(names, {session.get_inputs()[0].name: images}))
    except Exception as error:
        raise _refusal("run", error, path) from error


def basic(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """`proto` after onnxruntime's basic optimizations, which stay within standard ONNX operators."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "folded.onnx")
        session_of(proto, path, optimized=target)
        folded = onnx.load(target)
    standard = [entry for entry in folded.opset_import if entry.domain in ("", "ai.onnx")]
    del folded.opset_import[:]
    folded.opset_import.extend(standard)  # it lists its own domains, used or not
    folded.ir_version = proto.ir_version
    return folded


def alike(one: Array, other: Array, tolerance: float) -> bool:
    """Whether two arrays have one shape and differ by at most `tolerance` of the largest value."""
    largest = max(float(np.abs(other).max(initial=0)), 1e-6)
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=0, atol=tolerance * largest, equal_nan=True))


def _refusal(stage: str, error: Exception, path: Path) -> ModelError:
    said = str(error).partition("\n")[0]
    return ModelError(f"onnxruntime cannot {stage} it ({said or type(error).__name__})", where=path,
                      fix="check it with onnx.checker.check_model")
