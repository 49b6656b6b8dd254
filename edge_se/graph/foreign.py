"""ONNX files from elsewhere: supported graphs are normalised, others are refused with the node and the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from edge_se.core.errors import ModelError
from edge_se.graph.explicit_pads import explicit_pads
from edge_se.graph.gemms import plain_gemms
from edge_se.graph.image_input import image_facts
from edge_se.graph.onnx_model import OnnxModel, image_input
from edge_se.graph.reductions import spelled_out_reductions
from edge_se.graph.rewrites import (
    free_name,
    hide_constants,
    prepare,
    remove_unused_initializers,
    remove_unused_nodes,
)
from edge_se.graph.shape_arithmetic import resolve_shapes
from edge_se.graph.swishes import with_hard_swishes
from edge_se.graph.trial import Array, alike, basic, outputs_of, random_images, session_of
from edge_se.graph.upgrading import upgraded
from edge_se.graph.view import GraphView, node_label
from edge_se.graph.wraps import spelled_out_wraps
from edge_se.graph.zero_padding import with_negative_zeros

LARGEST_INPUT = 2**28  # floats
CONTROL_FLOW = ("If", "Loop", "Scan")
QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")
SEPARATE = 1e-2  # of the largest logit: more than rounding between a batch of two and two batches of one
SAME = 1e-3  # of the largest logit: more than rounding between two spellings of one net


def normalised(model: OnnxModel, path: Path, axes: str | None = None,
               size: tuple[int, int] | None = None) -> onnx.ModelProto:
    """The classifier in `model` in float32, its constants, batch norms and sizes folded, and its squeezes, hard
    swishes and Gemms rewritten.

    The batch stays dynamic if the graph really takes more than one image, else it becomes 1. Raises ModelError when
    it is not an image classifier with one input and one output, or holds what cannot be quantized; the message names
    the node and the reason. It raises, too, where the result does not compute what the file does. `axes` is what the
    user says of the input's, `size` the (height, width) for one whose own is dynamic; None for nothing.
    """
    proto = upgraded(model.copy(), path, axes, size)
    _refuse_what_cannot_be_handled(proto, path, axes)
    images = random_images(proto, max(image_input(proto).type.tensor_type.shape.dim[0].dim_value, 1))
    expected = outputs_of(session_of(proto, path), images, path)[0]
    hide_constants(proto)  # onnxruntime folds no constant that a caller may override
    with_negative_zeros(proto)  # before its optimizer sees the graph
    resolved = resolve_shapes(proto, path) if _control_flow(proto) else 0  # what it takes to choose a branch
    remove_unused_nodes(proto)  # onnxruntime takes them out with what a branch reads, too
    folded = basic(proto, path)
    if (node := _control_flow(folded)) is not None:
        raise ModelError("control flow that depends on the image cannot be quantized statically",
                         where=f"{path}: {node_label(node)}", fix="export the model with fixed control flow (trace it)")
    _fix_batch_of_one(folded, path)
    if resolve_shapes(folded, path) + resolved:
        remove_unused_nodes(folded)
        remove_unused_initializers(folded)
        folded = basic(folded, path)
    _refuse_computed_weights(folded, path)
    explicit_pads(folded)
    spelled_out_wraps(folded)
    spelled_out_reductions(folded)
    plain_gemms(folded)
    made = prepare(with_hard_swishes(folded))
    _require_same(outputs_of(session_of(made, path), images, path)[0], expected, path)
    return made


def _require_same(logits: Array, expected: Array, path: Path) -> None:
    """Fails where rewriting changed what the graph computes, which would be no fault of the user's."""
    if not alike(logits.reshape(-1), expected.reshape(-1), SAME):
        raise ModelError("edge-se would change what it computes when it simplifies the graph", where=path,
                         fix="please report it, with this file if you can; nothing was written")


def _refuse_what_cannot_be_handled(proto: onnx.ModelProto, path: Path, axes: str | None) -> None:
    for node in proto.graph.node:
        if node.op_type in QUANTIZED:
            raise ModelError("is quantized already", where=f"{path}: {node_label(node)}",
                             fix="give the float model")
        if node.domain not in ("", "ai.onnx"):
            raise ModelError(f"operator of the custom domain '{node.domain}'", where=f"{path}: {node_label(node)}",
                             fix="export the model with standard ONNX operators")
    image = image_facts(proto, axes, path)
    batch, (height, width) = image.batch, image.size
    assert height and width  # `upgraded` refuses others
    if (batch or 1) * image.channels * height * width > LARGEST_INPUT:
        raise ModelError(f"input of {batch or 1} images of {height}x{width} is larger than 1 GiB", where=path,
                         fix="export with a dynamic batch")
    if len(proto.graph.output) != 1:
        names = ", ".join(value.name for value in proto.graph.output)
        raise ModelError(f"has {len(proto.graph.output)} outputs ({names}); a classifier has one", where=path,
                         fix="export the logits alone")


def _control_flow(proto: onnx.ModelProto) -> onnx.NodeProto | None:
    return next((node for node in proto.graph.node if node.op_type in CONTROL_FLOW), None)


def _refuse_computed_weights(proto: onnx.ModelProto, path: Path) -> None:
    view = GraphView(proto)
    for node in proto.graph.node:
        if node.op_type in ("Conv", "ConvTranspose") and view.constant(node.input[1]) is None:
            raise ModelError("its weight is computed from the image, so it cannot become INT8",
                             where=f"{path}: {node_label(node)}", fix="export a net whose weights are constants")


def _fix_batch_of_one(proto: onnx.ModelProto, path: Path) -> None:
    """Sets a batch to 1 that is dynamic in name alone, as behind a reshape to (1, -1); runs the graph to see.

    Logits in a map of one place, as of a convolution and a global pool, become rows. Raises ModelError where it does
    not run, or its output is not one row of logits for each image.
    """
    batch = image_input(proto).type.tensor_type.shape.dim[0]
    session, images = session_of(proto, path), random_images(proto, max(batch.dim_value, 2))
    if batch.dim_value > 0:
        logits = outputs_of(session, images[:batch.dim_value], path)[0]
        _require_rows(logits, batch.dim_value, path)
        _end_in_rows(proto, logits.ndim)
        return
    alone = [outputs_of(session, image[None], path)[0] for image in images]
    for logits in alone:
        _require_rows(logits, 1, path)
    try:
        together = outputs_of(session, images, path)[0]
    except ModelError:
        together = None
    if not isinstance(together, np.ndarray) or not alike(together, np.concatenate(alone), SEPARATE):
        batch.Clear()
        batch.dim_value = 1
        del proto.graph.value_info[:]  # of the batch that was dynamic
        rows = proto.graph.output[0].type.tensor_type.shape.dim
        if len(rows):
            rows[0].Clear()
    _end_in_rows(proto, alone[0].ndim)


def _require_rows(logits: object, batch: int, path: Path) -> None:
    shape = list(logits.shape) if isinstance(logits, np.ndarray) else []
    if len(shape) < 2 or shape[0] != batch or sum(size != 1 for size in shape[1:]) > 1:
        raise ModelError(f"output of shape {tuple(shape)} for {batch} image(s); a classifier's is (batch, classes)",
                         where=path, fix="export the logits")
    if all(size == 1 for size in shape[1:]):
        raise ModelError("the model has 1 output", where=path,  # its class would be the same for every image
                         fix="export the model with one output a class: two for a binary classifier")


def _end_in_rows(proto: onnx.ModelProto, rank: int) -> None:
    """Puts a Flatten behind an output of more than two axes."""
    if rank == 2:
        return
    output = proto.graph.output[0]
    whole = free_name(proto.graph, f"{output.name}_map")
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = [whole if name == output.name else name for name in names]
    proto.graph.node.append(helper.make_node("Flatten", [whole], [output.name], output.name, axis=1))
    output.type.tensor_type.ClearField("shape")
