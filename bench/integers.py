"""What a Q/DQ file says, computed exactly: the oracle by which runtimes are judged (bench/simulations.py).

Products of layers whose inputs are both quantized are added as integers, whose sums float64 holds exactly; what lies
between is float64, and values halfway between two levels go to the even one, as ONNX defines. A tensor that the file
declares FP16 is rounded to FP16 where a kernel hands it on: not between a sum of integers and its scale.

It is slow and meant for hundreds of images. No runtime computes like this; an integer kernel with a float epilogue
comes within the rounding of the latter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edge_se.core.errors import ModelError
from edge_se.graph.onnx_model import OnnxModel

Values = NDArray[np.float64]
BATCH = 20
EXACT = 2.0**24  # whole numbers up to here are exact in float32


@dataclass(frozen=True)
class Integers:
    """What a DequantizeLinear makes, before its scale: whole numbers less their zero point. `scale` broadcasts."""

    whole: Values
    scale: Values
    half: bool

    @property
    def values(self) -> Values:
        """Scaled, in the type of the scale."""
        return _typed(self.whole * self.scale, self.half)


@dataclass(frozen=True)
class Floats:
    """Floats, or anything else that is not scaled; `half` says that the file declares them FP16."""

    values: NDArray[Any]
    half: bool = False


Value = Integers | Floats


class Oracle:
    """A file for `run`; ModelError for an operator of quantized weights that it does not know."""

    def __init__(self, model: OnnxModel) -> None:
        self._proto, self._opset = model.proto, model.opset
        self._input, self._output = model.input_name, model.proto.graph.output[0].name
        self._constants = {item.name: _constant(item) for item in model.proto.graph.initializer}
        self._others: dict[int, ReferenceEvaluator] = {}

    def run(self, images: NDArray[np.float32]) -> Values:
        """Normalised images (N, 3, H, W) -> logits (N, classes)."""
        return np.concatenate([self._run(images[start:start + BATCH]) for start in range(0, len(images), BATCH)])

    def _run(self, images: NDArray[np.float32]) -> Values:
        values: dict[str, Value] = {**self._constants, self._input: Floats(images.astype(np.float64))}
        for position, node in enumerate(self._proto.graph.node):
            read = [values[name] if name else None for name in node.input]
            own = _OWN.get(node.op_type)
            values[node.output[0]] = own(node, read) if own else self._by_reference(position, node, read)
        return values[self._output].values

    def _by_reference(self, position: int, node: onnx.NodeProto, read: list[Value | None]) -> Floats:
        """Any other operator, by ONNX's own definition in numpy."""
        if any(isinstance(value, Integers) and node.op_type in ("ConvTranspose", "Einsum") for value in read):
            raise ModelError(f"{node.op_type} of integers is not known here", where=node.name)
        if position not in self._others:
            self._others[position] = ReferenceEvaluator(node, opsets={"": self._opset})
        given = [value for value in read if value is not None]
        feed = {name: value.values for name, value in zip(filter(None, node.input), given)}
        half = any(value.half for value in given)
        results: Any = self._others[position].run(None, feed)
        made = np.asarray(results[0])
        floats = np.issubdtype(made.dtype, np.floating)
        return Floats(_typed(made, half) if floats else made, half and floats)


def _constant(item: onnx.TensorProto) -> Floats:
    array = numpy_helper.to_array(item)
    floats = array.dtype in (np.float32, np.float16)
    return Floats(array.astype(np.float64) if floats else array, array.dtype == np.float16)


def _typed(values: NDArray[Any], half: bool) -> Values:
    exact = np.asarray(values, np.float64)
    if not half:
        return exact
    with np.errstate(over="ignore"):
        return exact.astype(np.float16).astype(np.float64)


def _quantize(node: onnx.NodeProto, read: list[Value | None]) -> Floats:
    value, scale, point = read[0], read[1], read[2] if len(read) > 2 else None
    assert value is not None and scale is not None
    levels = np.iinfo(np.uint8 if point is None else point.values.dtype)
    zero = 0.0 if point is None else _along(point.values.astype(np.float64), node, value.values.ndim)
    whole = np.rint(value.values / _along(scale.values, node, value.values.ndim)) + zero
    return Floats(np.clip(whole, levels.min, levels.max).astype(levels.dtype))


def _dequantize(node: onnx.NodeProto, read: list[Value | None]) -> Integers:
    value, scale, point = read[0], read[1], read[2] if len(read) > 2 else None
    assert value is not None and scale is not None
    whole = value.values.astype(np.float64)
    if point is not None:
        whole = whole - _along(point.values.astype(np.float64), node, whole.ndim)
    return Integers(whole, _along(scale.values, node, whole.ndim), scale.half)


def _along(values: NDArray[Any], node: onnx.NodeProto, dims: int) -> NDArray[Any]:
    """A scale or zero point of each channel, in a shape that broadcasts over `dims` axes."""
    if values.size == 1:
        return values.reshape(())
    axis = next((item.i for item in node.attribute if item.name == "axis"), 1) % dims
    return values.reshape([-1 if index == axis else 1 for index in range(dims)])


def _product(node: onnx.NodeProto, read: list[Value | None]) -> Floats:
    """Conv, Gemm or MatMul: sums of integers where both inputs are integers, else of floats."""
    left, right, bias = read[0], read[1], read[2] if len(read) > 2 else None
    assert left is not None and right is not None
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    multiply = {"Conv": _convolved, "Gemm": _gemm, "MatMul": _matmul}[node.op_type]
    by_output = (1, -1, 1, 1)[: left.values.ndim] if node.op_type == "Conv" else (1, -1)
    if isinstance(left, Integers) and isinstance(right, Integers):
        if left.scale.size > 1 or (right.scale.size > 1 and right.scale.size != max(right.scale.shape)):
            made = multiply(left.values, right.values, attributes)
        else:
            scale = right.scale.reshape(by_output) if right.scale.size > 1 else right.scale
            made = multiply(left.whole, right.whole, attributes) * (left.scale * scale)
    else:
        made = multiply(left.values, right.values, attributes)
    if bias is not None:
        exact = bias.whole * bias.scale if isinstance(bias, Integers) else bias.values
        made = made + (exact.reshape(by_output) if node.op_type == "Conv" else exact)
    half = left.half or right.half
    return Floats(_typed(made, half), half)


def _gemm(left: Values, right: Values, attributes: dict[str, Any]) -> Values:
    if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
        raise ModelError("a Gemm with factors is not known here", where="alpha, beta")
    return (left.T if attributes.get("transA") else left) @ (right.T if attributes.get("transB") else right)


def _matmul(left: Values, right: Values, attributes: dict[str, Any]) -> Values:
    return np.asarray(left @ right)


def _convolved(images: Values, weights: Values, attributes: dict[str, Any]) -> Values:
    """(N, C, H, W) and (O, C / groups, h, w) -> (N, O, H', W'), as one matrix product a group."""
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise ModelError("a Conv with auto_pad is not known here", where="auto_pad")
    groups, (down, right) = attributes.get("group", 1), attributes.get("strides", (1, 1))
    top, before, bottom, after = attributes.get("pads", (0, 0, 0, 0))
    tall, wide = attributes.get("dilations", (1, 1))
    padded = np.pad(images, ((0, 0), (0, 0), (top, bottom), (before, after)))
    outputs, _, height, width = weights.shape
    reach = ((height - 1) * tall + 1, (width - 1) * wide + 1)
    windows = sliding_window_view(padded, reach, axis=(2, 3))[:, :, ::down, ::right, ::tall, ::wide]
    each, made = images.shape[1] // groups, []
    for group in range(groups):
        own = weights[group * (outputs // groups):(group + 1) * (outputs // groups)]
        made.append(_summed(windows[:, group * each:(group + 1) * each], own))
    joined: Values = np.concatenate(made, axis=3).transpose(0, 3, 1, 2)
    return joined


def _summed(windows: Values, weights: Values) -> Values:
    """(N, C, H, W, h, w) and (O, C, h, w) -> (N, H, W, O).

    Whole numbers of eight bits are added in float32, twice as fast, in parts whose sums it holds exactly.
    """
    axes = ((1, 4, 5), (1, 2, 3))
    largest = float(np.abs(windows).max() * np.abs(weights).max()) * weights.shape[2] * weights.shape[3]
    if largest > EXACT or any((values != np.rint(values)).any() for values in (weights, windows[:1])):
        return np.asarray(np.tensordot(windows, weights, axes))
    step, single = max(1, int(EXACT // max(1.0, largest))), (windows.astype(np.float32), weights.astype(np.float32))
    total: Values = np.zeros(())
    for start in range(0, weights.shape[1], step):
        part = slice(start, start + step)
        total = total + np.asarray(np.tensordot(single[0][:, part], single[1][:, part], axes), np.float64)
    return total


def _cast(node: onnx.NodeProto, read: list[Value | None]) -> Floats:
    assert read[0] is not None
    to = next(item.i for item in node.attribute if item.name == "to")
    if to not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
        return Floats(read[0].values.astype(helper.tensor_dtype_to_np_dtype(to)))
    half = to == onnx.TensorProto.FLOAT16
    return Floats(_typed(read[0].values, half), half)


_OWN: dict[str, Callable[[onnx.NodeProto, list[Value | None]], Value]] = {
    "QuantizeLinear": _quantize, "DequantizeLinear": _dequantize, "Conv": _product, "Gemm": _product,
        "MatMul": _product, "Cast": _cast}
