"""Changes of a Q/DQ graph that repairs and simulations share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_se.graph.rewrites import add_constant, remove_unused_initializers, remove_unused_nodes
from edge_se.quantization.lint.qdq import QdqView

TYPES: dict[int, type[np.integer[Any]]] = {onnx.TensorProto.UINT8: np.uint8, onnx.TensorProto.INT8: np.int8}
SHIFT = 128  # from int8 to uint8
AXES_SINCE = 13  # the opset from which a Q or DQ has an axis, and may have several scales


def tidy(proto: onnx.ModelProto) -> None:
    """Drops nodes and constants that a change left unread, and shapes of before."""
    remove_unused_nodes(proto)
    remove_unused_initializers(proto)
    del proto.graph.value_info[:]


def set_zero_point(proto: onnx.ModelProto, pair: onnx.NodeProto, value: NDArray[np.generic]) -> None:
    """Gives a QuantizeLinear or DequantizeLinear the zero point `value`, whose type is that of its integers."""
    name = add_constant(proto, f"{pair.output[0]}_zero_point", value)
    pair.input[2:] = [name]
    for entry in [entry for entry in pair.attribute if entry.name == "output_dtype"]:
        if pair.op_type == "QuantizeLinear":  # that of a DequantizeLinear (opset 23) is of its floats
            pair.attribute.remove(entry)


def restored(view: QdqView, quantizer: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Each DequantizeLinear of a QuantizeLinear; empty where something else reads its integers."""
    name = quantizer.output[0]
    readers = view.consumers[name]
    return readers if name not in view.outputs and all(node.op_type == "DequantizeLinear" for node in readers) else []


def retype(proto: onnx.ModelProto, view: QdqView, quantizers: Iterable[onnx.NodeProto], kind: int,
           shift: int) -> int:
    """Makes what each of `quantizers` writes `kind`, zero points `shift` more; returns how many it changed."""
    changed = 0
    for quantizer in quantizers:
        pairs = restored(view, quantizer)
        if not pairs:
            continue
        for pair in (quantizer, *pairs):
            set_zero_point(proto, pair, np.asarray(view.zero_point(pair) + shift).astype(TYPES[kind]))
        changed += 1
    tidy(proto)
    return changed
