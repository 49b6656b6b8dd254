"""Each ONNX operator as LiteRT's. The second number of a pair of versions is that of the int8 operator."""

from __future__ import annotations

import numpy as np
import onnx

from edge_se.core.errors import ModelError
from edge_se.graph.tflite.layers import convolution, fully_connected, pooled
from edge_se.graph.tflite.parts import gathered, padded, sliced, split
from edge_se.graph.tflite.reductions import length, pooled_whole, reduced
from edge_se.graph.tflite.slopes import elu, leaky_relu, prelu
from edge_se.graph.tflite.translation import FIX, Order, Translation, Value, Writer, moves, plain, whole
from edge_se.graph.view import attribute, node_label

ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")  # their number is their place in the schema


def _elementwise(code: str) -> Writer:
    """ADD, SUB, MUL and DIV, with an activation; DIV and SUB stay float."""
    integer = code in ("ADD", "MUL")

    def write(to: Translation, node: onnx.NodeProto) -> None:
        computed = [name for name in node.input if not to.reading.is_constant(name)]
        ending = to.ending(node, carries=True, integer=integer and len(computed) == 2)
        values = {name: to.value(name, ending) for name in computed}
        widest = max(values.values(), key=lambda value: len(value.shape))
        if any(len(value.shape) != len(to.shapes[node.output[0]]) for value in values.values()):
            raise ModelError("joins tensors of different ranks", where=node_label(node), fix=FIX)
        tensors = [to.ordered(values[name], widest.order).tensor if name in values
                   else _constant(to, name, widest.order) for name in node.input]
        made = to.made(ending, widest.order)
        to.flat.operator(code, 2 if ending.steps else 1, tensors, made.tensor, table=f"{code.title()}Options",
                         fusedActivationFunction=ACTIVATIONS.index(ending.activation))
    return write


def _constant(to: Translation, name: str, order: Order) -> int:
    weights = to.reading.weights(name)
    assert weights is not None  # every other input is computed
    return to.constant(weights.floats, name, order)


def _single(code: str, table: str | None = None) -> Writer:
    """Operators of one tensor, element by element, in float."""
    def write(to: Translation, node: onnx.NodeProto) -> None:
        ending = to.ending(node, integer=False)
        value = to.value(node.input[0], ending)
        to.flat.operator(code, 1, [value.tensor], to.made(ending, value.order).tensor, table=table)
    return write


def _clip(to: Translation, node: onnx.NodeProto) -> None:
    if kind := to.activation_of(node):
        _single(kind)(to, node)
        return
    ending = to.ending(node, integer=False)
    value = to.value(node.input[0], ending)
    for name, code in zip(node.input[1:], ("MAXIMUM", "MINIMUM")):
        if not name:
            continue
        bound = to.reading.view.constant(name)
        if bound is None:
            raise ModelError("has a bound that is computed", where=node_label(node), fix=FIX)
        made = to.between(value, f"{node.output[0]}_{code.lower()}")
        to.flat.operator(code, 1, [value.tensor, to.constant(bound.reshape(-1), name)], made.tensor,
                         table="MaximumMinimumOptions")
        value = made
    to.known_as(ending, value)


def _hard_sigmoid(to: Translation, node: onnx.NodeProto) -> None:
    """clip(alpha x + beta, 0, 1), which LiteRT has as RELU6(6 alpha x + 6 beta) / 6 alone."""
    alpha, beta = (float(str(attribute(node, name, default))) for name, default in (("alpha", 0.2), ("beta", 0.5)))
    ending = to.ending(node, integer=False)
    value = to.value(node.input[0], ending)
    name = node.output[0]
    for code, number, activation in (("MUL", 6 * alpha, "NONE"), ("ADD", 6 * beta, "RELU6")):
        made = to.between(value, f"{name}_{code.lower()}")
        to.flat.operator(code, 1, [value.tensor, to.constant(np.array([number]), f"{name}_{number:g}")], made.tensor,
                         table=f"{code.title()}Options", fusedActivationFunction=ACTIVATIONS.index(activation))
        value = made
    to.flat.operator("MUL", 1, [value.tensor, to.constant(np.array([1 / 6]), f"{name}_sixth")],
                     to.made(ending, value.order).tensor, table="MulOptions")


def _batch_norm(to: Translation, node: onnx.NodeProto) -> None:
    """One that no convolution before it takes in: a product and a sum for each channel."""
    scale, bias, mean, variance = (weights.floats for weights in map(to.reading.weights, node.input[1:5])
                                   if weights is not None)
    factor = scale / np.sqrt(variance + float(str(attribute(node, "epsilon", 1e-5))))
    ending = to.ending(node, carries=True, integer=False)
    value = to.value(node.input[0], ending)
    channels = (-1, *(1,) * (len(value.shape) - 2))
    scaled = to.between(value, f"{node.output[0]}_scaled")
    to.flat.operator("MUL", 1, [value.tensor, to.constant(factor.reshape(channels), f"{node.output[0]}_factor",
                                                          value.order)], scaled.tensor, table="MulOptions")
    shift = to.constant((bias - mean * factor).reshape(channels), f"{node.output[0]}_shift", value.order)
    to.flat.operator("ADD", 1, [scaled.tensor, shift], to.made(ending, value.order).tensor, table="AddOptions",
                     fusedActivationFunction=ACTIVATIONS.index(ending.activation))


def _softmax(to: Translation, node: onnx.NodeProto) -> None:
    ending = to.ending(node, integer=False)
    value = to.value(node.input[0], ending)
    axis = whole(node, "axis", -1) % len(value.shape)
    value = to.ordered(value, (*(other for other in value.order if other != axis), axis))
    to.flat.operator("SOFTMAX", 1, [value.tensor], to.made(ending, value.order).tensor, table="SoftmaxOptions",
                     beta=1.0)


def _joined(to: Translation, node: onnx.NodeProto) -> None:
    computed = [name for name in node.input if not to.reading.is_constant(name)]
    ending = to.ending(node, same_steps=True, integer=len(computed) == len(node.input))
    first = to.value(computed[0], ending)
    axis = whole(node, "axis", 1) % len(first.shape)
    tensors = [to.value(name, ending, first.order).tensor if name in computed else _constant(to, name, first.order)
               for name in node.input]
    to.flat.operator("CONCATENATION", 2 if ending.steps else 1, tensors, to.made(ending, first.order).tensor,
                     table="ConcatenationOptions", axis=first.order.index(axis))


def _reshaped(to: Translation, node: onnx.NodeProto) -> None:
    """Reshape and its kin: the elements in the graph's own order, in another shape."""
    ending = to.ending(node, same_steps=True)
    value = to.value(node.input[0], ending)
    if moves(value, plain(value.shape)):
        value = to.ordered(value, plain(value.shape))
    to.reshape(value, to.made(ending, plain(tuple(to.shapes[node.output[0]]))))


def _transposed(to: Translation, node: onnx.NodeProto) -> None:
    """Nothing to do: the same numbers in the same places, with their axes called otherwise."""
    ending = to.ending(node, same_steps=True)
    value = to.value(node.input[0], ending)
    axes = attribute(node, "perm", list(reversed(range(len(value.shape)))))
    assert isinstance(axes, list)
    to.known_as(ending, Value(tensor=value.tensor, steps=value.steps, shape=tuple(value.shape[axis] for axis in axes),
                              order=tuple(axes.index(axis) for axis in value.order)))


def _same(to: Translation, node: onnx.NodeProto) -> None:
    ending = to.ending(node, same_steps=True)
    to.known_as(ending, to.value(node.input[0], ending))


def _cast(to: Translation, node: onnx.NodeProto) -> None:
    if whole(node, "to", 0) != onnx.TensorProto.FLOAT:
        raise ModelError("casts to another type than FP32, which has no form in LiteRT here",
                         where=node_label(node), fix=FIX)
    _single("CAST")(to, node)


def _extreme(code: str) -> Writer:
    """MAXIMUM or MINIMUM of two tensors, or of one and a constant, in float."""
    def write(to: Translation, node: onnx.NodeProto) -> None:
        computed = [name for name in node.input if not to.reading.is_constant(name)]
        if len(node.input) != 2 or any(len(to.shapes[name]) != len(to.shapes[node.output[0]]) for name in computed):
            raise ModelError("joins tensors of different ranks, or more than two", where=node_label(node), fix=FIX)
        ending = to.ending(node, integer=False)
        order = to.value(computed[0], ending).order
        tensors = [to.value(name, ending, order).tensor if name in computed else _constant(to, name, order)
                   for name in node.input]
        to.flat.operator(code, 1, tensors, to.made(ending, order).tensor, table="MaximumMinimumOptions")
    return write


def _power(to: Translation, node: onnx.NodeProto) -> None:
    """A constant power: a product for squares, SQRT for roots, POW for others; in float."""
    exponent = to.reading.view.constant(node.input[1])
    if exponent is None or exponent.size != 1:
        raise ModelError("has no single constant power", where=node_label(node), fix=FIX)
    ending, power = to.ending(node, integer=False), float(exponent.reshape(()))
    value = to.value(node.input[0], ending)
    made = to.made(ending, value.order)
    if power == 2:
        to.flat.operator("MUL", 1, [value.tensor, value.tensor], made.tensor, table="MulOptions")
    elif power == 0.5:
        to.flat.operator("SQRT", 1, [value.tensor], made.tensor)
    else:
        to.flat.operator("POW", 1, [value.tensor, to.constant(np.array([power]), node.input[1])], made.tensor,
                         table="PowOptions")


OPERATORS: dict[str, Writer] = {
    "Add": _elementwise("ADD"), "Sub": _elementwise("SUB"), "Mul": _elementwise("MUL"), "Div": _elementwise("DIV"),
    "Relu": _single("RELU"), "Sigmoid": _single("LOGISTIC"), "Tanh": _single("TANH"),
    "HardSwish": _single("HARD_SWISH"), "Abs": _single("ABS"), "Neg": _single("NEG"), "Exp": _single("EXP"),
    "Log": _single("LOG"), "Sign": _single("SIGN"), "Sqrt": _single("SQRT"), "Pow": _power, "Max": _extreme("MAXIMUM"),
    "Min": _extreme("MINIMUM"),
    "HardSigmoid": _hard_sigmoid, "Clip": _clip, "BatchNormalization": _batch_norm, "Softmax": _softmax,
    "Cast": _cast, "Concat": _joined, "Identity": _same, "Transpose": _transposed,
    "Reshape": _reshaped, "Flatten": _reshaped, "Squeeze": _reshaped, "Unsqueeze": _reshaped,
    "Conv": convolution, "Gemm": fully_connected, "MatMul": fully_connected,
    "GlobalAveragePool": pooled_whole("MEAN"), "GlobalMaxPool": pooled_whole("REDUCE_MAX"),
    "AveragePool": pooled, "MaxPool": pooled,
    "ReduceMean": reduced("MEAN"), "ReduceSum": reduced("SUM"),
    "ReduceMax": reduced("REDUCE_MAX"), "ReduceMin": reduced("REDUCE_MIN"), "ReduceL2": length,
    "Pad": padded, "Slice": sliced, "Split": split, "Gather": gathered,
    "LeakyRelu": leaky_relu, "PRelu": prelu, "Elu": elu,
}
