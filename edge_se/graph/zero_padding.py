"""Zeros in front of a pool, which runtimes take for the pool's own padding and then compute as another value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from edge_se.graph.explicit_pads import pads_itself, set_same_pads, sizes_of, window_of
from edge_se.graph.joined import PASSED
from edge_se.graph.rewrites import add_constant, free_name
from edge_se.graph.view import GraphView, attribute

GONE = ("Dropout", "Identity")  # runtimes take them out
SAME = ("Cast", *GONE)          # what onnxruntime looks through, or takes out before
TINY = {np.dtype(np.float32): 1e-30, np.dtype(np.float64): 1e-30, np.dtype(np.float16): 6e-8}  # lost in every sum
FROM_ONNX: dict[Any, np.dtype[Any]] = {
    onnx.TensorProto.FLOAT: np.dtype(np.float32), onnx.TensorProto.FLOAT16: np.dtype(np.float16),
    onnx.TensorProto.DOUBLE: np.dtype(np.float64)}


def misplaced_zeros(view: GraphView) -> Iterator[onnx.NodeProto]:
    """Pad nodes that onnxruntime 1.31 takes into the pool behind them, and must not.

    It takes those whose value has no bit set. A MaxPool pads with -inf, so the result is another where all of a window
    is below zero; a pool of either kind that gets as much padding as its kernel is wide is no longer loaded
    (findings/onnxruntime_pad_into_max_pool.sh).
    """
    for node in view.graph.node:
        value = _padded_with(node, view)
        if value is not None and not any(value.tobytes()) and any(
                pool.op_type == "MaxPool" or _is_overwide(pool, node, view) for pool in _pools(node.output[0], view)):
            yield node


def with_negative_zeros(model: onnx.ModelProto) -> int:
    """Makes the value of such nodes a negative zero, which is the same number; returns how many. Changes `model`."""
    view = GraphView(model)
    values = [(node, _padded_with(node, view)) for node in misplaced_zeros(view)]
    for node, value in values:
        assert value is not None  # else it would not be one of them
        _pad_with(-0.0, value.dtype, node, model)
    return len(values)


def offset_pools(view: GraphView) -> Iterator[onnx.NodeProto]:
    """Average pools that count zeros around their images, and read integers whose zero point is not 0 in OpenVINO.

    OpenVINO 2026.4 pads those with the integer 0 (-13 dB), also where operators that only move, join or scale values
    stand between, and where the zeros are those of a Pad node (findings/openvino_padded_average_pool.sh).
    """
    for node in view.graph.node:
        if node.op_type == "AveragePool" and _type_of(node.input[0], view) is not None:
            pad = _pad_before(node, view)
            if (pad is not None or _counts_padding(node)) and _is_offset((pad or node).input[0], view):
                yield node


def with_tiny_padding(model: onnx.ModelProto) -> int:
    """Pads in front of such pools with a value that is no zero for OpenVINO; returns how many. Changes `model`.

    Those with `auto_pad` stay where the size of their input is not known.
    """
    view, changed = GraphView(model), 0
    pools = list(offset_pools(view))
    sizes = sizes_of(model) if any(map(pads_itself, pools)) else {}
    for pool in pools:
        if pads_itself(pool):
            if (window := window_of(pool, view, sizes)) is None:
                continue
            set_same_pads(pool, window)
        changed += 1
        kind = _type_of(pool.input[0], view)
        assert kind is not None  # else it would not be one of them
        if (pad := _pad_before(pool, view)) is not None:
            _pad_with(TINY[kind], kind, pad, model)
        if _counts_padding(pool):
            _move_padding(pool, kind, model)
    return changed


def without_offset_pools(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` after `with_tiny_padding`; a copy where that changes anything."""
    if next(offset_pools(GraphView(model)), None) is None:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with_tiny_padding(copy)
    return copy


def _padded_with(node: onnx.NodeProto, view: GraphView) -> NDArray[Any] | None:
    """The float that `node` pads with; None where it does something else, or where nobody knows its type."""
    if node.op_type != "Pad" or attribute(node, "mode", b"constant") != b"constant" or len(node.input) < 2:
        return None  # up to opset 10 a Pad has one input
    if len(node.input) > 2 and node.input[2]:
        value = view.constant(node.input[2])
    else:
        kind = _type_of(node.input[0], view)
        value = None if kind is None else np.zeros(1, kind)
    return value if value is not None and value.dtype in TINY else None


def _type_of(name: str, view: GraphView) -> np.dtype[Any] | None:
    """The type of a float tensor, which is that of what its values were computed from; None for integers."""
    while (node := view.producer.get(name)) is not None:
        if node.op_type in ("Cast", "QuantizeLinear") or not node.input:
            return FROM_ONNX.get(attribute(node, "to"))
        name = node.input[1 if node.op_type == "DequantizeLinear" else 0]
    if name in view.initializers:
        return FROM_ONNX.get(view.initializers[name].data_type)
    return next((FROM_ONNX.get(value.type.tensor_type.elem_type) for value in view.graph.input if value.name == name),
                None)


def _pad_with(value: float, kind: np.dtype[Any], node: onnx.NodeProto, model: onnx.ModelProto) -> None:
    name = add_constant(model, f"{node.output[0]}_value", np.array(value, kind))
    node.input[:] = [*node.input[:2], name, *node.input[3:]]


def _pools(name: str, view: GraphView) -> Iterator[onnx.NodeProto]:
    for reader in view.consumers[name]:
        if reader.op_type in ("AveragePool", "MaxPool"):
            yield reader
        elif reader.op_type in SAME:
            yield from _pools(reader.output[0], view)


def _is_overwide(pool: onnx.NodeProto, pad: onnx.NodeProto, view: GraphView) -> bool:
    pads = view.constant(pad.input[1])
    widest = 0 if pads is None else int(pads.max()) + max(_ints(pool, "pads"), default=0)
    return widest >= min(_ints(pool, "kernel_shape"))


def _counts_padding(pool: onnx.NodeProto) -> bool:
    return bool(attribute(pool, "count_include_pad", 0)) and (any(_ints(pool, "pads")) or pads_itself(pool))


def _ints(node: onnx.NodeProto, name: str) -> list[int]:
    return [int(each) for each in attribute(node, name, ())]  # type: ignore[attr-defined]


def _pad_before(pool: onnx.NodeProto, view: GraphView) -> onnx.NodeProto | None:
    """The Pad node in front of `pool` whose value is zero, if the pool counts what it reads."""
    node = view.producer.get(pool.input[0])
    while node is not None and node.op_type in GONE:
        node = view.producer.get(node.input[0])
    value = None if node is None else _padded_with(node, view)
    if value is None or value.any() or (any(_ints(pool, "pads")) and not _counts_padding(pool)):
        return None
    return node


def _move_padding(pool: onnx.NodeProto, kind: np.dtype[Any], model: onnx.ModelProto) -> None:
    """Puts the padding of `pool` into a Pad node before it."""
    pads, padded = np.array(_ints(pool, "pads")).reshape(2, -1), free_name(model.graph, f"{pool.output[0]}_padded")
    kept = [item for item in pool.attribute if item.name != "pads"]
    del pool.attribute[:]
    pool.attribute.extend([*kept, helper.make_attribute("pads", [0] * pads.size)])
    name = add_constant(model, f"{padded}_pads", np.pad(pads, ((0, 0), (2, 0))).reshape(-1).astype(np.int64))
    pad = helper.make_node("Pad", [pool.input[0], name], [padded], name=padded)
    _pad_with(TINY[kind], kind, pad, model)
    model.graph.node.insert(list(model.graph.node).index(pool), pad)
    pool.input[0] = padded


def _is_offset(name: str, view: GraphView) -> bool:
    """Whether `name` comes from integers to which OpenVINO gives a zero point, or which have one."""
    left, seen = [name], {name}
    while left:
        node = view.producer.get(left.pop())
        if node is not None and node.op_type == "DequantizeLinear":
            if _has_point(node, view):
                return True
        elif node is not None and node.op_type in (*PASSED, "Concat"):
            new = set(view.data_inputs(node)) - seen
            left.extend(new)
            seen |= new
    return False


def _has_point(node: onnx.NodeProto, view: GraphView) -> bool:
    """Signed integers become unsigned ones where a convolution reads them, too."""
    point = view.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if point is None:
        return False
    readers = [reader for same in view.consumers[node.input[0]] for reader in view.consumers[same.output[0]]]
    return bool(point.any()) or (point.dtype == np.int8 and len(readers) > 1)
