"""What an ONNX graph says of a tensor: a constant, with or without steps, or the quantization of what is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_se.graph.tflite.flatbuffer import Steps
from edge_se.graph.view import GraphView, attribute


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Constants as they are computed with: float32, and the int8 values with their scales (channels,) behind them."""

    floats: NDArray[np.float32]
    integers: NDArray[np.int8] | None = None
    scales: NDArray[np.float32] | None = None


class Reading:
    """Look-ups over a float or a Q/DQ graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.view = GraphView(model)

    def weights(self, name: str, axis: int = 0) -> Weights | None:
        """The constant of this name, behind a DequantizeLinear or not; None where it is computed.

        Scales are those of the indices of `axis`; one for all is repeated.
        """
        value = self.view.constant(name)
        if value is not None:
            return Weights(floats=np.asarray(value, np.float32))
        node = self.restored(name)
        stored = self.view.constant(node.input[0]) if node is not None else None
        if node is None or stored is None:
            return None
        scale = self.view.constant(node.input[1])
        point = self.view.constant(node.input[2]) if len(node.input) > 2 else None
        assert scale is not None  # `quantize` wrote it
        own = int(str(attribute(node, "axis", 1)))
        along = [1] * stored.ndim if scale.size > 1 else []
        if along:
            along[own] = -1
        shifted = stored.astype(np.int32) - (0 if point is None else point.astype(np.int32).reshape(along))
        floats = np.asarray(shifted * scale.astype(np.float32).reshape(along), np.float32)
        signed = stored.dtype == np.int8 and (point is None or not point.any()) and (
            scale.size == 1 or own % stored.ndim == axis)
        scales = _scales(stored, scale.astype(np.float32), axis) if signed else None
        return Weights(floats=floats, integers=np.asarray(stored, np.int8) if signed else None, scales=scales)

    def is_constant(self, name: str) -> bool:
        """Whether no image changes `name`: a constant, or one behind a DequantizeLinear."""
        node = self.restored(name)
        return self.view.constant(node.input[0] if node is not None else name) is not None

    def restored(self, name: str) -> onnx.NodeProto | None:
        """The DequantizeLinear that makes `name`."""
        node = self.view.producer.get(name)
        return node if node is not None and node.op_type == "DequantizeLinear" else None

    def steps(self, node: onnx.NodeProto) -> Steps | None:
        """The scale and zero point of a Q or DQ node in signed int8; None for other types and for several scales."""
        scale, point = (self.view.constant(name) for name in (*node.input[1:3], "")[:2])
        if scale is None or point is None or scale.size != 1 or point.dtype != np.int8:
            return None
        return Steps(scales=(float(scale.reshape(())),), zero_point=int(point.reshape(())))

    def quantized(self, name: str) -> list[onnx.NodeProto]:
        """The QuantizeLinear nodes that read `name`, where nothing else does and all of them are alike; else none."""
        readers = self.view.consumers.get(name, [])
        alike = {(node.op_type, *node.input) for node in readers}
        if name in self.view.outputs or len(alike) != 1 or readers[0].op_type != "QuantizeLinear":
            return []
        return readers if self.steps(readers[0]) is not None else []

    def dynamic(self, name: str) -> str | None:
        """The tensor whose scale is computed anew for each run, where `name` is that tensor in 8 bits and back."""
        node = self.restored(name)
        maker = self.view.producer.get(node.input[0]) if node is not None else None
        return str(maker.input[0]) if maker is not None and maker.op_type == "DynamicQuantizeLinear" else None


def _scales(stored: NDArray[Any], scale: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """One for each index of `axis`; one without weights has none above those of the others.

    onnxruntime's quantizer gives it 1, and XNNPACK then loads no file where that is LARGEST_FACTOR times the steps of
    what the layer makes.
    """
    if not stored.ndim:  # the value of a Pad, say
        return scale.reshape(-1)
    scales = np.broadcast_to(scale.reshape(-1), stored.shape[axis])
    used = stored.any(axis=tuple(other for other in range(stored.ndim) if other != axis))
    return np.where(used, scales, np.minimum(scales, scales[used].max())) if used.any() else scales
