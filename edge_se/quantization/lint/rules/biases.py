"""Biases: those of a scale of their own, those too large for FP16, those that are rounded unasked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper

from edge_se.graph.rewrites import add_constant
from edge_se.graph.view import attribute
from edge_se.quantization.lint.base import Finding, Rule, found
from edge_se.quantization.lint.edits import tidy
from edge_se.quantization.lint.qdq import Layer, QdqView, Values

CLOSE = 0.01            # of the product of the scales; less moves no result
LARGEST_HALF = 65504    # of FP16
COARSE = 100            # times the finest step of a channel's bias
ROUNDED = ("Conv", "Gemm")  # onnxruntime's pass knows ConvTranspose, too, which no quantizer here writes


def of_another_scale(view: QdqView) -> Iterator[Finding]:
    """Gemms whose int32 bias has another scale than the product of the other two."""
    for layer, own, product in _with_own_scale(view):
        ratio = own / product
        worst = ratio[np.argmax(np.abs(np.log(np.maximum(ratio, 1e-30))))]
        yield found(layer.node, f"the scale of its bias is {worst:.3g} times the product of its inputs' scales")


def with_the_product(proto: onnx.ModelProto) -> None:
    """What onnxruntime computes: the same integers, scaled by the product."""
    view = QdqView(proto)
    for layer, _, product in list(_with_own_scale(view)):
        bias = view.int32_bias(layer)
        assert bias is not None
        steps, scale = view.numbers(bias.input[0]), view.constant(bias.input[1])
        assert steps is not None and scale is not None
        layer.node.input[2] = add_constant(proto, f"{layer.bias}_product", (steps * product).astype(scale.dtype))
    tidy(proto)


def _with_own_scale(view: QdqView) -> Iterator[tuple[Layer, Values, Values]]:
    for layer in view.layers:
        bias, product = view.int32_bias(layer), view.product(layer)
        own = view.scale(bias) if bias is not None else None
        if layer.node.op_type != "Gemm" or own is None or product is None:
            continue
        if not (own.size == product.size or 1 in (own.size, product.size)) or not product.all():
            continue
        own, product = np.broadcast_arrays(own.reshape(-1), product)
        if np.any(np.abs(own - product) > CLOSE * product):
            yield layer, own, product


def beyond_half(view: QdqView) -> Iterator[Finding]:
    """int32 biases that FP16 does not hold."""
    for pair, value in view.int32_biases():
        if (largest := int(np.abs(value.astype(np.int64)).max(initial=0))) > LARGEST_HALF:
            yield found(_reader(view, pair), f"its int32 bias reaches {largest:,}")


def saturated(proto: onnx.ModelProto) -> None:
    """What OpenVINO computes at f16: biases end at 65504."""
    view = QdqView(proto)
    for pair, value in list(view.int32_biases()):
        pair.input[0] = add_constant(proto, f"{pair.input[0]}_saturated", np.clip(value, -LARGEST_HALF, LARGEST_HALF))


def any_int32(view: QdqView) -> Iterator[Finding]:
    """int32 biases."""
    for pair, _ in view.int32_biases():
        yield found(_reader(view, pair), "its bias is int32 behind a DequantizeLinear")


def to_floats(proto: onnx.ModelProto) -> int:
    """Makes int32 biases float: the very values that their DequantizeLinear gives."""
    view, changed = QdqView(proto), 0
    for pair, value in list(view.int32_biases()):
        scale = view.constant(pair.input[1])
        if scale is None or view.zero_point(pair).any() or pair.output[0] in view.outputs or (
                scale.size > 1 and value.ndim > 1):  # of an axis, or of blocks
            continue
        told = attribute(pair, "output_dtype", 0)
        kind = helper.tensor_dtype_to_np_dtype(told) if isinstance(told, int) and told else scale.dtype
        floats = value.astype(np.float32) * scale.astype(np.float32)  # the integers alone may be too large for FP16
        name = add_constant(proto, f"{pair.output[0]}_float", floats.astype(kind))
        for node in view.consumers[pair.output[0]]:
            node.input[:] = [name if own == pair.output[0] else own for own in node.input]
        changed += 1
    tidy(proto)
    return changed


def to_be_rounded(view: QdqView) -> Iterator[Finding]:
    """Float biases of convolutions that onnxruntime makes int32, but for those that are whole steps already.

    Those of a Gemm go into an integer kernel that takes no others.
    """
    for layer, bias, product in _rounded(view, TensorProto.FLOAT):
        moved = np.abs(np.round(bias / product) * product - bias)
        if layer.node.op_type == "Conv" and np.any(moved > CLOSE * product):
            yield found(layer.node, f"its float bias moves by up to {moved.max():.2g}")


def rounded(proto: onnx.ModelProto) -> None:
    """What onnxruntime computes: biases in steps of the product of the scales."""
    for layer, bias, product in list(_rounded(QdqView(proto), TensorProto.FLOAT)):
        value = (np.round(bias / product) * product).astype(np.float32)
        layer.node.input[2] = add_constant(proto, f"{layer.bias}_rounded", value)


def beyond_half_steps(view: QdqView) -> Iterator[Finding]:
    """FP16 biases that onnxruntime divides by FP16 scales: the quotient is infinite, or the product 0."""
    for layer, bias, product in _rounded(view, TensorProto.FLOAT16):
        smallest = float(np.finfo(np.float16).smallest_subnormal)
        steps = np.abs(bias) / np.maximum(product, smallest / 2)
        if steps.max(initial=0) > LARGEST_HALF:
            yield found(layer.node, f"its bias is {steps.max():,.0f} of its steps, and FP16 ends at {LARGEST_HALF:,}")


def _rounded(view: QdqView, kind: int) -> Iterator[tuple[Layer, Values, Values]]:
    """(layer, its constant bias, steps) where onnxruntime's WeightBiasQuantization quantizes the bias."""
    for layer in view.layers:
        product = view.product(layer)
        if (layer.node.op_type not in ROUNDED or product is None or view.element_type(layer.bias) != kind
                or not product.all()):
            continue
        readers = view.readers_through_relu(layer.node.output[0])
        bias = view.numbers(layer.bias)
        if (bias is not None and product.size in (1, bias.size)
                and [node.op_type for node in readers] == ["QuantizeLinear"]):
            yield layer, bias.reshape(-1), product


def of_empty_channels(view: QdqView) -> Iterator[Finding]:
    """Biases of channels without weights, in steps that are far coarser than those of the others.

    A bias of 0 lost nothing: a class that no image has, and a channel that was pruned whole, have such.
    """
    for layer in view.layers:
        bias = view.int32_bias(layer)
        scale = view.scale(bias) if bias is not None else None
        value = view.constant(bias.input[0]) if bias is not None else None
        if scale is None or value is None or scale.size < 2 or scale.size != value.size:
            continue
        coarse = np.flatnonzero((scale.reshape(-1) > COARSE * scale.min()) & (value.reshape(-1) != 0))
        weights = view.weights(layer) if len(coarse) else None
        if weights is None or len(weights) != scale.size:
            continue
        empty = [int(channel) for channel in coarse if not weights[channel].any()]
        if empty:
            yield found(layer.node, f"{len(empty)} channel{'s' * (len(empty) > 1)} without weights (the first is "
                                    f"{empty[0]}) with a bias in steps of {scale.reshape(-1)[empty].max():.2g}")


def _reader(view: QdqView, pair: onnx.NodeProto) -> onnx.NodeProto:
    """The layer that reads a bias, to name; the DequantizeLinear itself where nothing does."""
    return next(iter(view.consumers[pair.output[0]]), pair)


RULES = (
    Rule(name="gemm-bias-scale", kind="wrong", runtime="onnxruntime", versions="1.31.1",
         instead="QGemm takes the int32 bias as if its scale were that of the input times that of the weights",
         fix="write the bias as float, or quantize it again with that product", find=of_another_scale,
         computed=with_the_product, repair=to_floats),
    Rule(name="bias-beyond-fp16", kind="wrong", runtime="openvino", versions="2026.4.1, at the precision hint f16",
         instead="int32 biases become FP16 before they are scaled, and saturate at 65504; GPU and Arm plugins choose "
                 "f16 by themselves",
         fix="write biases as float", find=beyond_half, computed=saturated, repair=to_floats),
    Rule(name="float-bias-rounded", kind="wrong", runtime="onnxruntime", versions="1.31.1",
         instead="the pass WeightBiasQuantization rounds float biases in front of a QuantizeLinear to steps of the "
                 "product of the scales, also where no integer kernel reads them",
         fix='make the session with disabled_optimizers=["WeightBiasQuantization"]', find=to_be_rounded,
         computed=rounded),
    Rule(name="fp16-scales", kind="wrong", runtime="onnxruntime", versions="1.31.1",
         instead="the pass WeightBiasQuantization divides FP16 biases by the product of FP16 scales in FP16: what is "
                 "above 65504 steps is infinite, and its int32 is garbage",
         fix='make the session with disabled_optimizers=["WeightBiasQuantization"], or quantize with FP32 scales',
         find=beyond_half_steps),
    Rule(name="empty-channel-bias", kind="lossy", runtime="any", versions="onnxruntime's quantizer 1.31.1",
         instead="a channel without weights got the weight scale 1, so that its bias is rounded to steps of the "
                 "input's scale",
         fix="before quantizing, give such channels one weight too small to matter; or keep biases in float",
         find=of_empty_channels),
    Rule(name="int32-bias", kind="refused", runtime="tensorrt", versions="(parser of RTX 1.7.1)",
         instead="its parser takes no int32 behind a DequantizeLinear", fix="write biases as float", find=any_int32,
         repair=to_floats),
)
