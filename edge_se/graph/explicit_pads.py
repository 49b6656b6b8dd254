"""Padding as numbers of the layer that pads: not by a rule of its runtime, and not by a Pad in front of a MaxPool."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper

from edge_se.graph.rewrites import add_constant, free_name
from edge_se.graph.shapes import inferred
from edge_se.graph.view import GraphView, attribute
from edge_se.graph.windows import POOLS, Ints, Window, pad_numbers, rounded_down, rounds_up

NOTHING = -65504.0  # FP16's lowest number, or less: exporters pad a MaxPool with it where they mean -inf


def explicit_pads(model: onnx.ModelProto) -> None:
    """Gives layers with `auto_pad` or `ceil_mode` the pads that these mean, and a MaxPool those of a Pad of -inf.

    LiteRT has neither attribute. OpenVINO 2026.4 divides by other numbers where an average counts its padding and
    rounds up (findings/openvino_rounded_up_average.sh), and gives a MaxPool that rounds up windows of padding alone
    (findings/openvino_window_of_padding.sh). No range holds -inf. Layers whose input has no known size
    keep them. Changes `model`; a Pad that nothing reads any more stays.
    """
    view, sizes = GraphView(model), sizes_of(model)
    for node in list(model.graph.node):
        window = window_of(node, view, sizes)
        if window is not None and pads_itself(node):
            set_same_pads(node, window)
        elif window is not None and rounds_up(node):
            _round_down(node, window, model)
            if window.is_one_less:
                del model.graph.value_info[:]  # they may be of another number of windows
        if node.op_type == "MaxPool":
            _take_over(node, view)


def reaching_beyond(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, Window]]:
    """MaxPools that OpenVINO 2026.4 gives windows of padding alone, which answer with the lowest number.

    Torch and onnxruntime have none there (findings/openvino_window_of_padding.sh).
    """
    view, sizes = GraphView(model), sizes_of(model)
    for node in model.graph.node:
        window = window_of(node, view, sizes) if node.op_type == "MaxPool" and rounds_up(node) else None
        if window is not None and window.is_one_less:
            yield node, window


def without_windows_of_padding(model: onnx.ModelProto) -> int:
    """Rounds the number of their windows down, which leaves the others; returns how many. Changes `model`."""
    nodes = list(reaching_beyond(model))
    for node, window in nodes:
        pad_numbers(node, rounded_down(window))
    if nodes:
        del model.graph.value_info[:]  # they may be of another number of windows
    return len(nodes)


def sizes_of(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Of each tensor whose rank is known the sizes behind batch and channels; 0 for one that is not known."""
    shaped = inferred(model, data_prop=True).graph
    return {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim][2:]
            for value in (*shaped.input, *shaped.value_info, *shaped.output)
            if value.type.tensor_type.HasField("shape")}


def window_of(node: onnx.NodeProto, view: GraphView, sizes: dict[str, list[int]]) -> Window | None:
    """The window of a layer; None for other nodes, and where its kernel or the size of its input is not known."""
    if node.op_type not in ("Conv", *POOLS):
        return None
    kernel, size = attribute(node, "kernel_shape"), sizes.get(node.input[0], [])
    if kernel is None and node.op_type == "Conv" and (weight := view.constant(node.input[1])) is not None:
        kernel = list(weight.shape[2:])
    if not isinstance(kernel, list) or len(size) != len(kernel) or not all(size):
        return None
    return Window.of(node, kernel, size)


def pads_itself(node: onnx.NodeProto) -> bool:
    """Whether a layer pads so that its output has the size of its input, divided by its stride."""
    return attribute(node, "auto_pad") in (b"SAME_UPPER", b"SAME_LOWER")


def set_same_pads(node: onnx.NodeProto, window: Window) -> None:
    """Replaces `auto_pad` of such a layer by what it stands for.

    It stays where onnxruntime computes something else: pools with dilations, and strides that leave out two places.
    """
    steps = -(-window.size // window.strides) - 1
    total = steps * window.strides + window.reach - window.size
    if (total < -1).any() or (node.op_type != "Conv" and (window.dilations != 1).any()):
        return
    less = np.maximum(0, total) // 2
    more = np.maximum(0, total) - less
    pad_numbers(node, np.stack([less, more] if attribute(node, "auto_pad") == b"SAME_UPPER" else [more, less]))


def _round_down(node: onnx.NodeProto, window: Window, model: onnx.ModelProto) -> None:
    """Pads the end of a pool by what its last windows reach beyond it, which no pool counts."""
    pads = rounded_down(window)
    if (pads >= window.kernel).any():
        return
    if node.op_type == "AveragePool" and window.beyond.any() and attribute(node, "count_include_pad", 0):
        if window.pads.any():
            _pad_before(node, window.pads, model)
        pads = pads - window.pads
        node.attribute.remove(next(entry for entry in node.attribute if entry.name == "count_include_pad"))
    pad_numbers(node, pads)


def _pad_before(node: onnx.NodeProto, pads: Ints, model: onnx.ModelProto) -> None:
    padded = free_name(model.graph, f"{node.output[0]}_padded")
    wide = add_constant(model, f"{padded}_pads", np.pad(pads, ((0, 0), (2, 0))).reshape(-1))
    model.graph.node.insert(list(model.graph.node).index(node),
                            helper.make_node("Pad", [node.input[0], wide], [padded], padded))
    node.input[0] = padded


def _take_over(pool: onnx.NodeProto, view: GraphView) -> None:
    """Makes the -inf of a Pad in front of `pool` its own padding, where it is narrower than the kernel."""
    pad = view.producer.get(pool.input[0])
    if pad is None or pad.op_type != "Pad" or len(pad.input) != 3 or len(pool.output) != 1 or (
            attribute(pad, "mode", b"constant") != b"constant"):
        return
    wide, value = (view.constant(name) for name in pad.input[1:])
    kernel = np.array(attribute(pool, "kernel_shape"))
    if wide is None or value is None or value.dtype.kind != "f" or value.item() > NOTHING or wide.min() < 0 or (
            attribute(pool, "auto_pad", b"NOTSET") != b"NOTSET" or attribute(pool, "ceil_mode", 0)):
        return
    sides = wide.reshape(2, -1)
    pads = np.array(attribute(pool, "pads", [0, 0] * len(kernel))).reshape(2, -1) + sides[:, 2:]
    if not sides[:, :2].any() and (pads < kernel).all():
        pad_numbers(pool, pads)
        pool.input[0] = pad.input[0]
