"""Q/DQ pairs beside each other: twins, pairs behind pairs, a ReLU in front of one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper

from edge_se.graph.onnx_model import opset_of
from edge_se.quantization.lint.base import Finding, Rule, found
from edge_se.quantization.lint.edits import AXES_SINCE, tidy
from edge_se.quantization.lint.qdq import QdqView

OTHER_AXES = (0, -1, -2)  # which a scale of one number ignores


def twins(view: QdqView) -> Iterator[Finding]:
    """Q or DQ nodes of one tensor that say the same."""
    for first, second in _twins(view):
        yield found(second, f"says the same of '{second.input[0]}' as '{first.name or first.output[0]}'")


def told_apart(proto: onnx.ModelProto) -> int:
    """Gives each later twin an axis of its own, which a scale of one number ignores and these tools compare.

    It leaves those that come after the last of OTHER_AXES, and all below opset 13, where no pair has an axis.
    """
    if opset_of(proto) < AXES_SINCE:
        return 0
    view, changed = QdqView(proto), 0
    taken = {_told(node, view) for node in (*view.quantizers, *view.dequantizers)}
    for _, later in list(_twins(view)):
        for axis in OTHER_AXES:
            apart = onnx.NodeProto()
            apart.CopyFrom(later)
            del apart.attribute[:]
            apart.attribute.extend(entry for entry in later.attribute if entry.name != "axis")
            apart.attribute.append(helper.make_attribute("axis", axis))
            if _told(apart, view) not in taken:
                taken.add(_told(apart, view))
                later.CopyFrom(apart)
                changed += 1
                break
    return changed


def _twins(view: QdqView) -> Iterator[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """(first, later one) with the same operator, input, values and attributes, of a scale of one number."""
    seen: dict[tuple[object, ...], onnx.NodeProto] = {}
    for node in (*view.quantizers, *view.dequantizers):
        scale = view.scale(node)
        if (node.op_type == "DequantizeLinear" and view.holds_weights(node)) or scale is None or scale.size != 1:
            continue
        key = _told(node, view)
        if key in seen:
            yield seen[key], node
        seen.setdefault(key, node)


def _told(node: onnx.NodeProto, view: QdqView) -> tuple[object, ...]:
    """All that these tools compare of a Q or DQ."""
    scale = view.scale(node)
    return (node.op_type, node.input[0], None if scale is None else scale.tobytes(), view.zero_point(node).tobytes(),
            view.kind(node), tuple(sorted((entry.name, entry.SerializeToString()) for entry in node.attribute)))


def behind_pairs(view: QdqView) -> Iterator[Finding]:
    """A QuantizeLinear that reads a DequantizeLinear of the same type and another step, in data or in weights."""
    for node in view.quantizers:
        before = view.dequantizer(node.input[0])
        if before is None or view.kind(before) != view.kind(node):
            continue
        own, earlier = view.scale(node), view.scale(before)
        if own is not None and earlier is not None and not (
                own.size == earlier.size and np.array_equal(own.reshape(-1), earlier.reshape(-1))):
            yield found(node, f"quantizes again what '{before.name or before.output[0]}' restored, in other steps")


def relu_in_front(view: QdqView) -> Iterator[Finding]:
    """A ReLU between a quantized convolution and a QuantizeLinear whose range begins at zero."""
    for relu, _ in _foldable(view):
        yield found(relu, "a ReLU between an INT8 convolution and a QuantizeLinear that cuts off there itself")


def folded(proto: onnx.ModelProto) -> int:
    """Takes such ReLUs out."""
    pairs = list(_foldable(QdqView(proto)))
    for relu, quantizer in pairs:
        quantizer.input[0] = relu.input[0]
    tidy(proto)
    return len(pairs)


def _foldable(view: QdqView) -> Iterator[tuple[onnx.NodeProto, onnx.NodeProto]]:
    for layer in view.layers:
        relu = view.only_consumer(layer.node.output[0]) if layer.node.op_type == "Conv" else None
        if relu is None or relu.op_type != "Relu":
            continue
        reader = view.only_consumer(relu.output[0])
        if reader is not None and reader.op_type == "QuantizeLinear" and view.cuts_below_zero(reader):
            yield relu, reader


RULES = (
    Rule(name="twin-pairs", kind="slow", runtime="tools",
         versions="onnxslim 0.1.98, onnxsim 0.8.1, onnxscript 0.7.2",
         instead="two Q or DQ of one tensor with equal values become one, whatever their names: the pair that TensorRT "
                 "wants on a shortcut of its own is gone",
         fix="do not run these tools on Q/DQ files, or give one of the two the attribute axis=0, which a single scale "
             "ignores", find=twins, repair=told_apart),
    Rule(name="quantized-twice", kind="wrong", runtime="any", versions="NNCF 3.4.0 goes on silently",
         instead="what was rounded once is rounded again in other steps", fix="quantize the float model",
         find=behind_pairs),
    Rule(name="relu-in-front", kind="slow", runtime="opencv", versions="5.0.0",
         instead="a convolution whose ReLU is a node of its own in front of QuantizeLinear stays float",
         fix="take the ReLU out: the range of the pair cuts off there itself", find=relu_in_front, repair=folded),
)
