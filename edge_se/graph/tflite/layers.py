"""Layers with weights and windows as LiteRT's: what it calls padding, and its order of weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_se.core.errors import ModelError
from edge_se.graph.tflite.flatbuffer import Steps
from edge_se.graph.tflite.parts import bordered
from edge_se.graph.tflite.reading import Weights
from edge_se.graph.tflite.translation import FIX, LAST, Ending, Translation, Value, plain, whole
from edge_se.graph.view import attribute, node_label

SAME, VALID = 0, 1  # of the schema
SEQUENCE = (0, 2, 1)  # as LAST, of (batch, channels, length)
CODES = {"NONE": 0, "RELU": 1, "RELU6": 3}
LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True, kw_only=True)
class Window:
    """(height, width) of what slides over an image, and the rows and columns added around it."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]  # top, left, bottom, right

    def padding(self, height: int, width: int) -> int | None:
        """SAME or VALID where LiteRT's own padding is this one; None where it is neither."""
        if not any(self.pads):
            return VALID
        wanted = []
        for size, kernel, stride, dilation in zip((height, width), self.kernel, self.strides, self.dilations):
            total = max(0, (-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size)
            wanted.append((total // 2, total - total // 2))
        (top, bottom), (left, right) = wanted
        return SAME if (top, left, bottom, right) == self.pads else None


def convolution(to: Translation, node: onnx.NodeProto) -> None:
    """CONV_2D, also with groups, or DEPTHWISE_CONV_2D; one over a sequence is one over an image of one row."""
    weights, bias = _weights(to, node)
    if weights.floats.ndim not in (len(SEQUENCE), len(LAST)):
        raise ModelError("is no convolution over images", where=node_label(node), fix=FIX)
    is_row = weights.floats.ndim == len(SEQUENCE)
    weights = _of_a_row(weights) if is_row else weights
    window = _window(node, (weights.floats.shape[2], weights.floats.shape[3]))
    ending = to.ending(node, carries=True, integer=weights.integers is not None, scales=weights.scales)
    value = to.value(node.input[0], ending, SEQUENCE if is_row else LAST)
    if is_row:
        batch, channels, length = value.shape
        row = to.add(f"{node.output[0]}_row", (batch, channels, 1, length), LAST, value.steps)
        to.reshape(value, row)
        value = row
    value, padding = _padded(to, value, window, node, 0.0)
    groups = whole(node, "group", 1)
    depthwise = groups == value.shape[1] and groups > 1
    order, axis = ((1, 2, 3, 0), 3) if depthwise else ((0, 2, 3, 1), 0)
    hybrid = to.reading.dynamic(node.input[0]) is not None and weights.integers is not None
    tensors = [value.tensor, _stored(to, node, weights, ending, order, axis, hybrid),
               _bias(to, node, weights, bias, value, ending)]
    options = {"padding": padding, "strideH": window.strides[0], "strideW": window.strides[1],
               "dilationHFactor": window.dilations[0], "dilationWFactor": window.dilations[1],
               "fusedActivationFunction": CODES[ending.activation]}
    batch, outputs, *size = to.shapes[ending.name]
    made = to.add(f"{ending.name}_row", (batch, outputs, 1, *size), LAST, ending.steps) if is_row else (
        to.made(ending, LAST))
    if depthwise:
        to.flat.operator("DEPTHWISE_CONV_2D", 6 if hybrid else 3 if ending.steps else 2, tensors, made.tensor,
                         table="DepthwiseConv2DOptions", depthMultiplier=weights.floats.shape[0] // groups, **options)
    else:
        to.flat.operator("CONV_2D", 5 if hybrid else 6 if groups > 1 else 3 if ending.steps else 1, tensors,
                         made.tensor, table="Conv2DOptions", **options)
    if is_row:
        to.reshape(made, to.made(ending, SEQUENCE))


def _of_a_row(weights: Weights) -> Weights:
    """Weights (outputs, inputs, length) as those of windows of one row."""
    return replace(weights, floats=weights.floats[:, :, None], integers=(
        None if weights.integers is None else weights.integers[:, :, None]))


def fully_connected(to: Translation, node: onnx.NodeProto) -> None:
    """Gemm, or MatMul by a constant matrix; weights (outputs, inputs)."""
    weights, bias = _weights(to, node)
    scaled = any(float(str(attribute(node, name, 1.0))) != 1.0 for name in ("alpha", "beta"))
    if weights.floats.ndim != 2 or scaled or whole(node, "transA", 0):
        raise ModelError("is no product of data and a matrix", where=node_label(node), fix=FIX)
    order = (0, 1) if whole(node, "transB", 0) else (1, 0)
    ending = to.ending(node, carries=True, integer=weights.integers is not None, scales=weights.scales)
    value = to.value(node.input[0], ending)
    value = to.ordered(value, plain(value.shape))
    hybrid = to.reading.dynamic(node.input[0]) is not None and weights.integers is not None
    tensors = [value.tensor, _stored(to, node, weights, ending, order, 0, hybrid),
               _bias(to, node, weights, bias, value, ending)]
    to.flat.operator("FULLY_CONNECTED", 12 if hybrid or ending.steps else 5 if len(value.shape) > 2 else 1, tensors,
                     to.made(ending, value.order).tensor, table="FullyConnectedOptions",
                     fusedActivationFunction=CODES[ending.activation], keepNumDims=len(value.shape) > 2,
                     asymmetricQuantizeInputs=hybrid)


def pooled(to: Translation, node: onnx.NodeProto) -> None:
    """MAX_POOL_2D or AVERAGE_POOL_2D."""
    kernel = attribute(node, "kernel_shape")
    if not isinstance(kernel, list) or len(kernel) != 2 or whole(node, "ceil_mode", 0):
        raise ModelError("is no pool over whole windows of images", where=node_label(node), fix=FIX)
    window, largest = _window(node, (kernel[0], kernel[1])), node.op_type == "MaxPool"
    if window.dilations != (1, 1):
        raise ModelError("has a window with holes", where=node_label(node), fix=FIX)
    ending = to.ending(node, same_steps=True)
    value = to.value(node.input[0], ending, LAST)
    counted = bool(whole(node, "count_include_pad", 0))  # LiteRT's own padding is never counted
    if not largest and not counted and window.padding(*value.shape[2:]) is None:
        raise ModelError("leaves out of its means what it pads, on other sides than LiteRT", where=node_label(node),
                         fix=FIX)
    value, padding = _padded(to, value, window, node, LOWEST if largest else 0.0, explicit=counted)
    to.flat.operator("MAX_POOL_2D" if largest else "AVERAGE_POOL_2D", 2 if ending.steps else 1, [value.tensor],
                     to.made(ending, LAST).tensor, table="Pool2DOptions", padding=padding,
                     filterHeight=window.kernel[0], filterWidth=window.kernel[1],
                     strideH=window.strides[0], strideW=window.strides[1])


def _window(node: onnx.NodeProto, kernel: tuple[int, int]) -> Window:
    if attribute(node, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise ModelError("pads as its runtime likes", where=node_label(node), fix=FIX)
    strides, dilations, pads = (attribute(node, name) or [default] * count for name, default, count in (
        ("strides", 1, 2), ("dilations", 1, 2), ("pads", 0, 4)))
    assert isinstance(strides, list) and isinstance(dilations, list) and isinstance(pads, list)
    strides, dilations = [1, *strides][-2:], [1, *dilations][-2:]  # of a sequence one number each
    pads = [0, pads[0], 0, pads[1]] if len(pads) == 2 else pads
    return Window(kernel=kernel, strides=(strides[0], strides[1]), dilations=(dilations[0], dilations[1]),
                  pads=(pads[0], pads[1], pads[2], pads[3]))


def _padded(to: Translation, value: Value, window: Window, node: onnx.NodeProto, fill: float,
            explicit: bool = False) -> tuple[Value, int]:
    """`value` and SAME or VALID; with rows and columns of `fill` where LiteRT's own padding is another or unwanted.

    Int8 is filled with its zero point, which stands for 0: nothing of it is smaller, where a ReLU comes before a pool.
    """
    padding = window.padding(*value.shape[2:])
    if padding == VALID or (padding == SAME and not explicit):
        return value, padding
    top, left, bottom, right = window.pads
    batch, channels, height, width = value.shape
    wider = to.between(value, f"{node.output[0]}_padded",
                       (batch, channels, height + top + bottom, width + left + right))
    lowest = value.steps is None or value.steps.zero_point != -128
    bordered(to, value, wider, np.array([[0, 0], [0, 0], [top, bottom], [left, right]], np.int32),
             fill if lowest and not _never_negative(to, node.input[0]) else 0.0)
    return wider, VALID


def _never_negative(to: Translation, name: str) -> bool:
    maker = to.reading.view.producer.get(name)
    return maker is not None and to.activation_of(maker) is not None


def _weights(to: Translation, node: onnx.NodeProto) -> tuple[Weights, NDArray[np.float32] | None]:
    """The constants that a layer multiplies by, with scales of its outputs, and its bias."""
    outputs = 1 if node.op_type == "MatMul" or (node.op_type == "Gemm" and not whole(node, "transB", 0)) else 0
    weights = to.reading.weights(node.input[1], outputs)
    bias = to.reading.weights(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if weights is None or (bias is None and len(node.input) > 2 and node.input[2]):
        raise ModelError("multiplies by what it computes", where=node_label(node), fix=FIX)
    return weights, None if bias is None else bias.floats.reshape(-1)


def _stored(to: Translation, node: onnx.NodeProto, weights: Weights, ending: Ending, order: tuple[int, ...], axis: int,
            hybrid: bool) -> int:
    """The weights in the file, their axes in `order`; in int8 those of `axis` have a scale each."""
    name = node.input[1]
    if (ending.steps is None and not hybrid) or weights.integers is None or weights.scales is None:
        return to.flat.constant(np.ascontiguousarray(weights.floats.transpose(order)), name)
    return to.flat.constant(np.ascontiguousarray(weights.integers.transpose(order)), name,
                            Steps(scales=tuple(map(float, weights.scales)), axis=axis))


def _bias(to: Translation, node: onnx.NodeProto, weights: Weights, bias: NDArray[np.float32] | None, value: Value,
          ending: Ending) -> int:
    """The bias in the file: float, or int32 in steps of the data's scale times the weights'."""
    outputs = int(to.shapes[node.output[0]][1 if node.op_type == "Conv" else -1])
    floats = np.zeros(outputs, np.float32) if bias is None else np.broadcast_to(bias, (outputs,))
    name = f"{node.output[0]}_bias"
    if ending.steps is None or weights.scales is None or value.steps is None:
        return to.flat.constant(np.ascontiguousarray(floats, np.float32), name)
    scales = np.float64(value.steps.scales[0]) * weights.scales
    integers = np.clip(np.rint(floats / scales), -2**31, 2**31 - 1).astype(np.int32)
    return to.flat.constant(integers, name, Steps(scales=tuple(map(float, scales))))
