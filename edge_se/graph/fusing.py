"""`--fuse-preprocessing`: a graph that takes the bytes of a camera, uint8 (batch, height, width, channels).

Cast, layout and normalisation are in the graph. Where one convolution reads the image, the normalisation vanishes into
its weights: it reads `pixel - 128`, an integer from -128 to 127, which INT8 of every target holds exactly. Its zero
padding would then be grey instead of the mean; so a channel is added that is a constant inside the image and zero in
the padding, and its weights make up the difference, border included.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edge_se.core.errors import ModelError
from edge_se.device.agent.preprocess import Preprocessing
from edge_se.graph.image_input import image_facts, image_forms
from edge_se.graph.metadata import write_metadata
from edge_se.graph.onnx_model import OnnxModel, image_input
from edge_se.graph.rewrites import checked, remove_unused_initializers
from edge_se.graph.view import GraphView, attribute

MIDDLE = 128  # a pixel less this is an int8
LARGEST_MARK = 127
PREFIX = "fused_"
LAYOUT = ("Identity", "Transpose")
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Fused:
    """`model` takes bytes. `exact`: its first layer reads pixels as integers; else they are normalised before it."""

    model: OnnxModel
    exact: bool


def with_fused_preprocessing(model: OnnxModel) -> Fused:
    """The same net for uint8 images (batch, height, width, channels) in its own order of colours.

    Raises ModelError for a model that takes bytes already, or that says nothing of its preprocessing.
    """
    metadata = model.metadata
    if metadata is None or metadata.preprocessing.dtype == "uint8":
        raise ModelError("takes uint8 pixels already" if metadata else "does not say its preprocessing",
                         where="--fuse-preprocessing", fix="leave --fuse-preprocessing out")
    proto, how = model.copy(), metadata.preprocessing
    image = image_input(proto)
    name, batch = image.name, image.type.tensor_type.shape.dim[0]
    facts = image_facts(proto, how.axes)
    first = _first_convolution(proto, how.axes)
    scale, shift = _normalisation(how)
    taken = {name for node in proto.graph.node for name in (*node.input, *node.output)}
    prefix = PREFIX
    while any(name.startswith(prefix) for name in taken):
        prefix = f"_{prefix}"
    pixels, floats = f"{prefix}pixels", f"{prefix}image"
    nodes = [helper.make_node("Cast", [name], [pixels], f"{prefix}cast", to=onnx.TensorProto.FLOAT)]
    if first is not None or how.axes == "NCHW":
        moved = f"{prefix}planes"
        nodes.append(helper.make_node("Transpose", [pixels], [moved], f"{prefix}transpose", perm=[0, 3, 1, 2]))
        pixels = moved
    if first is not None:
        nodes += _folded(proto, first, pixels, prefix, scale, shift)
    else:
        shape = (1, -1, 1, 1) if how.axes == "NCHW" else (1, 1, 1, -1)
        nodes += _normalising(proto, pixels, floats, prefix, scale.reshape(shape), shift.reshape(shape))
        for node in proto.graph.node:
            for position, read in enumerate(node.input):
                if read == name:
                    node.input[position] = floats
    rest = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*nodes, *rest])
    remove_unused_initializers(proto)
    shown = batch.dim_value or batch.dim_param or "batch"
    image.CopyFrom(helper.make_tensor_value_info(name, onnx.TensorProto.UINT8,
                                                 [shown, *facts.size, facts.channels]))
    del proto.graph.value_info[:]
    plain = replace(how, dtype="uint8", axes="NHWC", range="0-255", mean=(0.0,) * how.channels,
                    std=(1.0,) * how.channels)
    proto = checked(proto)
    write_metadata(proto, replace(metadata, preprocessing=plain))
    return Fused(model=OnnxModel.of(proto), exact=first is not None)


def normalised_bytes(images: NDArray[Any], how: Preprocessing) -> NDArray[np.float32]:
    """What a net of `how` took for the bytes (batch, height, width, channels) that its fused graph takes."""
    scale, shift = how.scale_and_shift()
    values: NDArray[np.float32] = images.astype(np.float32) * scale + shift
    return values if how.axes == "NHWC" else np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def _normalisation(how: Preprocessing) -> tuple[Floats, Floats]:
    """(channels,) each, in double precision: the net takes pixel * scale + shift."""
    low, high = how.extremes
    mean, std = np.asarray(how.mean, np.float64), np.asarray(how.std, np.float64)
    return (high - low) / (255 * std), (low - mean) / std


def _first_convolution(proto: onnx.ModelProto, axes: str) -> onnx.NodeProto | None:
    """The one node that reads the image, where that is a convolution of all its channels, perhaps behind layout."""
    view, name, order = GraphView(proto), image_input(proto).name, [0, 1, 2, 3]
    node = view.only_consumer(name)
    while node is not None and node.op_type in LAYOUT:
        if node.op_type == "Transpose":
            moved = attribute(node, "perm", [3, 2, 1, 0])
            assert isinstance(moved, list)
            order = [order[place] for place in moved]
        node = view.only_consumer(node.output[0])
    if node is None or order != ([0, 3, 1, 2] if axes == "NHWC" else [0, 1, 2, 3]):
        return None
    weight = view.constant(node.input[1]) if node.op_type == "Conv" else None
    biased = len(node.input) < 3 or view.constant(node.input[2]) is not None
    if weight is None or weight.ndim != 4 or not biased or attribute(node, "group", 1) != 1:
        return None
    return node


def _folded(proto: onnx.ModelProto, node: onnx.NodeProto, pixels: str, prefix: str, scale: Floats,
            shift: Floats) -> list[onnx.NodeProto]:
    """Makes the convolution `node` read `pixels` less 128; returns what goes before it. The old layout nodes go."""
    view = GraphView(proto)
    weight = np.asarray(view.constant(node.input[1]), np.float64)
    weights = [weight * scale[None, :, None, None]]
    # What the padding stands for is 0 of the normalised image; the value of pixel 128 there is `offset`.
    offset = shift + MIDDLE * scale
    lost = (weight * offset[None, :, None, None]).sum(1, keepdims=True)  # (outputs, 1, kernel)
    bias = np.zeros(len(weight)) if len(node.input) < 3 else np.asarray(view.constant(node.input[2]), np.float64)
    centred = f"{prefix}centred"
    made = [helper.make_node("Sub", [pixels, _constant(proto, f"{prefix}middle", np.array(MIDDLE))], [centred],
                             f"{prefix}centre")]
    if _is_padded(node):
        mark = _mark(weights[0], lost)
        weights.append(lost / mark)
        marked = f"{prefix}marked"
        pads = numpy_helper.from_array(np.array([0, 0, 0, 0, 0, 1, 0, 0], np.int64), f"{prefix}pads")
        proto.graph.initializer.append(pads)
        made.append(helper.make_node("Pad", [centred, pads.name, _constant(proto, f"{prefix}mark", np.array(mark))],
                                     [marked], f"{prefix}mark_image"))
        centred = marked
    else:
        bias = bias + lost.sum((1, 2, 3))
    before = image_forms(proto, LAYOUT)[1:]
    kept = [other for other in proto.graph.node if other.output[0] not in before]
    names = [centred, _constant(proto, f"{prefix}weight", np.concatenate(weights, axis=1)),
             _constant(proto, f"{prefix}bias", bias)]
    del node.input[:]
    node.input.extend(names)
    del proto.graph.node[:]
    proto.graph.node.extend(kept)
    return made


def _mark(weight: Floats, lost: Floats) -> int:
    """The value of the added channel: the least that makes its weights no larger than the others of their output.

    INT8 weights share a scale by output, so larger ones would make it coarser, and a larger value the error of theirs.
    """
    largest = np.abs(weight).max((1, 2, 3))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.abs(lost).max((1, 2, 3)) / largest
    return int(np.clip(np.ceil(np.nan_to_num(ratios, nan=1.0, posinf=LARGEST_MARK).max()), 1, LARGEST_MARK))


def _is_padded(node: onnx.NodeProto) -> bool:
    automatic = attribute(node, "auto_pad", b"NOTSET")
    pads = attribute(node, "pads", [])
    assert isinstance(pads, list)
    return automatic in (b"SAME_UPPER", b"SAME_LOWER") or (automatic == b"NOTSET" and any(pads))


def _normalising(proto: onnx.ModelProto, pixels: str, floats: str, prefix: str, scale: Floats,
                 shift: Floats) -> list[onnx.NodeProto]:
    scaled = f"{prefix}scaled"
    return [helper.make_node("Mul", [pixels, _constant(proto, f"{prefix}scale", scale)], [scaled], f"{prefix}mul"),
            helper.make_node("Add", [scaled, _constant(proto, f"{prefix}shift", shift)], [floats], f"{prefix}add")]


def _constant(proto: onnx.ModelProto, name: str, values: NDArray[np.generic]) -> str:
    proto.graph.initializer.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
    return name
