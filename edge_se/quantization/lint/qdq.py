"""An index over a Q/DQ graph: which layers are quantized, with what scales, zero points and types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_se.graph.counting import shapes_of
from edge_se.graph.metadata import ModelMetadata, read_metadata
from edge_se.graph.targets.base import WEIGHTED
from edge_se.graph.view import GraphView, attribute

Values = NDArray[np.float64]
PASSED = ("Identity", "Cast")  # nodes behind which torch's exporter leaves constants
LOWEST: dict[int, int] = {  # of the integers of a type
    TensorProto.UINT8: 0, TensorProto.INT8: -128, TensorProto.UINT16: 0, TensorProto.INT16: -32768}
NAMES: dict[int, str] = {kind: TensorProto.DataType.Name(kind).lower() for kind in TensorProto.DataType.values()}


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A convolution or product, its data and its weights each from a DequantizeLinear, the weights constant integers or
    constant floats behind a QuantizeLinear.

    `bias` is the name of its third input, empty without one.
    """

    node: onnx.NodeProto
    data: onnx.NodeProto
    weights: onnx.NodeProto
    bias: str


class QdqView(GraphView):
    """Read-only look-ups over one Q/DQ graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__(model)
        self.model = model
        self.quantizers = [node for node in self.graph.node if node.op_type == "QuantizeLinear"
                           and not self.is_constant(node.input[0])]  # of activations
        self.dequantizers = [node for node in self.graph.node if node.op_type == "DequantizeLinear"]

    @cached_property
    def metadata(self) -> ModelMetadata | None:
        """What edge-se wrote into the file, or None."""
        return read_metadata(self.model)

    @cached_property
    def shapes(self) -> dict[str, list[int]]:
        """The inferred shape of each tensor, 0 where unknown."""
        return shapes_of(self.model)

    @cached_property
    def layers(self) -> list[Layer]:
        """All quantized layers, in order."""
        made = []
        for node in self.graph.node:
            data, weights = (self.dequantizer(name) for name in (*node.input, "", "")[:2])
            if (node.op_type in WEIGHTED and data is not None and weights is not None
                    and self.holds_weights(weights) and not self.holds_weights(data)):
                made.append(Layer(node=node, data=data, weights=weights, bias=(*node.input, "")[2]))
        return made

    def dequantizer(self, name: str) -> onnx.NodeProto | None:
        """The DequantizeLinear that makes `name`."""
        node = self.producer.get(name)
        return node if node is not None and node.op_type == "DequantizeLinear" else None

    def holds_weights(self, dequantizer: onnx.NodeProto) -> bool:
        """Whether it restores a constant, of integers or of floats that a QuantizeLinear rounds first."""
        maker = self.producer.get(dequantizer.input[0])
        return self.is_constant(dequantizer.input[0]) or (
            maker is not None and maker.op_type == "QuantizeLinear" and self.is_constant(maker.input[0]))

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """The value of an initializer or a Constant, also behind Identity and Cast; None for what is computed."""
        node = self.producer.get(name)
        if node is None or node.op_type not in PASSED:
            return super().constant(name)
        value, kind = self.constant(node.input[0]), attribute(node, "to")
        return value.astype(helper.tensor_dtype_to_np_dtype(kind)) if value is not None and isinstance(kind, int) \
            else value

    def is_constant(self, name: str) -> bool:
        """Whether `constant` has a value of `name`; nothing is decoded."""
        node = self.producer.get(name)
        if node is not None and node.op_type in PASSED:
            return self.is_constant(node.input[0])
        return name in self.initializers or (node is not None and node.op_type == "Constant")

    def numbers(self, name: str) -> Values | None:
        """A constant in float64."""
        value = self.constant(name) if name else None
        return None if value is None else np.asarray(value, np.float64)

    def scale(self, pair: onnx.NodeProto) -> Values | None:
        """The scale of a QuantizeLinear or DequantizeLinear."""
        return self.numbers(pair.input[1])

    def zero_point(self, pair: onnx.NodeProto) -> Values:
        """Its zero point; zeros of the scale's shape where it has none."""
        value, scale = self.numbers((*pair.input, "")[2]), self.scale(pair)
        return value if value is not None else np.zeros(() if scale is None else scale.shape)

    def cuts_below_zero(self, quantizer: onnx.NodeProto) -> bool:
        """Whether its zero point is the lowest of its integers, so that nothing below zero is left."""
        lowest = LOWEST.get(self.kind(quantizer))
        return lowest is not None and bool(np.all(self.zero_point(quantizer) == lowest))

    def kind(self, pair: onnx.NodeProto) -> int:
        """The element type between a QuantizeLinear and its DequantizeLinear; uint8 where nothing says it."""
        point = self.element_type((*pair.input, "")[2])
        if point:
            return point
        if pair.op_type == "DequantizeLinear":
            maker = self.producer.get(pair.input[0])
            return self.kind(maker) if maker is not None and maker.op_type == "QuantizeLinear" else (
                self.element_type(pair.input[0]) or TensorProto.UINT8)
        told = attribute(pair, "output_dtype", 0)
        return told if isinstance(told, int) and told else TensorProto.UINT8

    def element_type(self, name: str) -> int:
        """That of a constant; 0 for what is computed."""
        if name in self.initializers:
            return int(self.initializers[name].data_type)
        value = self.constant(name) if name in self.producer else None
        return 0 if value is None else int(numpy_helper.from_array(np.asarray(value)).data_type)

    def readers_through_relu(self, name: str) -> list[onnx.NodeProto]:
        """The readers of `name`; those of a ReLU that alone reads it in its place."""
        only = self.only_consumer(name)
        return self.consumers[only.output[0]] if only is not None and only.op_type == "Relu" else self.consumers[name]

    def product(self, layer: Layer) -> Values | None:
        """Scale of the data times that of the weights, of each channel; None where the data has several scales, or a
        channel's weights have (blocks of opset 21).
        """
        data, weights = self.scale(layer.data), self.scale(layer.weights)
        return data.reshape(()) * weights.reshape(-1) if (
            data is not None and weights is not None and data.size == 1 and weights.ndim < 2) else None

    def weights(self, layer: Layer) -> Values | None:
        """Its constant weights, output channels first, in steps from zero, or the floats that a QuantizeLinear rounds.

        None for blocks with zero points of their own.
        """
        maker = self.producer.get(layer.weights.input[0])
        if maker is not None and maker.op_type == "QuantizeLinear":
            value = self.numbers(maker.input[0])
        else:
            value, point = self.numbers(layer.weights.input[0]), self.zero_point(layer.weights)
            if value is not None and point.any():
                axis = attribute(layer.weights, "axis", 1)
                if (point.ndim > 1 and point.size > 1) or not isinstance(axis, int):
                    return None
                value = value - point.reshape(()) if point.size == 1 else np.moveaxis(
                    np.moveaxis(value, axis, -1) - point, -1, axis)
        turned = layer.node.op_type != "Conv" and not attribute(layer.node, "transB", 0)
        return np.moveaxis(value, -1, 0) if value is not None and turned else value

    def int32_bias(self, layer: Layer) -> onnx.NodeProto | None:
        """The DequantizeLinear of its constant int32 bias."""
        bias = self.dequantizer(layer.bias)
        return bias if bias is not None and self.element_type(bias.input[0]) == TensorProto.INT32 else None

    def int32_biases(self) -> Iterator[tuple[onnx.NodeProto, NDArray[np.int32]]]:
        """(DequantizeLinear, its constant int32) of each in the graph."""
        for pair in self.dequantizers:
            if self.element_type(pair.input[0]) == TensorProto.INT32:
                value = self.constant(pair.input[0])
                if value is not None:
                    yield pair, np.asarray(value, np.int32)
