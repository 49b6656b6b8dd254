"""Rewrites that make an exported graph one which every quantizer and runtime handles well."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edge_se.core.errors import ModelError
from edge_se.graph.onnx_model import opset_of
from edge_se.graph.shapes import inferred
from edge_se.graph.squeezes import spelled_out_squeezes
from edge_se.graph.targets.base import OPSET
from edge_se.graph.view import GraphView, attribute

IR_VERSION = 8


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """Strips exporter traces, turns spatial means into GlobalAveragePool, infers shapes and checks the result."""
    strip_traces(model)
    hide_constants(model)
    spelled_out_squeezes(model)
    squeeze_to_global_average_pool(model)
    remove_unused_nodes(model)
    return checked(model)


def checked(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with inferred shapes, after onnx's full check; ModelError when it does not hold."""
    try:
        shaped = inferred(model, check_type=True, strict_mode=True, data_prop=True).graph
        for field, values in ((model.graph.value_info, shaped.value_info), (model.graph.output, shaped.output)):
            del field[:]
            field.extend(values)
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"not a valid ONNX graph ({str(error).splitlines()[0]})",
                         fix="export it again; `onnx.checker.check_model` says more") from error
    return model


def strip_traces(model: onnx.ModelProto) -> None:
    """Removes doc strings and node metadata: they hold local paths and make equal exports differ."""
    model.doc_string = ""
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer)
    for item in (model.graph, *model.graph.node, *values):
        item.doc_string = ""
        del item.metadata_props[:]


def hide_constants(model: onnx.ModelProto) -> None:
    """Takes constants off the graph's inputs, where old exporters list them: callers could override them there."""
    constants = {initializer.name for initializer in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(kept)


def lower_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model`, changed, at the opset of what edge-se exports, so that older TensorRT versions read it.

    It keeps its own where onnx's converter knows no way back, as for the Split of opset 18.
    """
    _forget_empty_axes(model)
    try:
        lowered = onnx.version_converter.convert_version(model, OPSET)
        lowered.ir_version = IR_VERSION
    except RuntimeError:  # "No Adapter From Version ..."
        lowered = model
        lowered.ir_version = onnx.helper.find_min_ir_version_for(list(model.opset_import))
    return lowered


def _forget_empty_axes(model: onnx.ModelProto) -> None:
    """Drops `noop_with_empty_axes`, where it is 0 as by default, from reductions that have none before opset 18.

    onnx's converter leaves it on some of them, such as ReduceL2, and the graph is not valid then.
    """
    for node in model.graph.node:
        if node.op_type.startswith("Reduce") and node.op_type != "ReduceSum":
            for entry in node.attribute:
                if entry.name == "noop_with_empty_axes" and not entry.i:
                    node.attribute.remove(entry)
                    break


def raise_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """`model` at `opset` if its own is older, with the IR version that came with it."""
    if opset_of(model) >= opset:
        return model
    raised = onnx.version_converter.convert_version(model, opset)
    raised.ir_version = onnx.helper.find_min_ir_version_for(list(raised.opset_import))
    return raised


def squeeze_to_global_average_pool(model: onnx.ModelProto) -> int:
    """Replaces ReduceMean over exactly the spatial axes of a 4-D tensor; returns how many were replaced.

    The quantized kernels of onnxruntime and OpenVINO know GlobalAveragePool and do not know ReduceMean: an SE
    block with ReduceMean stays split in two float islands.
    """
    view, ranks = GraphView(model), _ranks(model)
    nodes: list[onnx.NodeProto] = []
    replaced = 0
    for node in model.graph.node:
        if node.op_type != "ReduceMean" or not _is_spatial_mean(node, view, ranks):
            nodes.append(node)
            continue
        replaced += 1
        if attribute(node, "keepdims", 1):
            nodes.append(helper.make_node("GlobalAveragePool", [node.input[0]], list(node.output), node.name))
        else:
            pooled = f"{node.output[0]}_pooled"
            nodes.append(helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], f"{node.name}_pool"))
            nodes.append(helper.make_node("Flatten", [pooled], list(node.output), node.name, axis=1))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    remove_unused_initializers(model)
    return replaced


def free_name(graph: onnx.GraphProto, name: str) -> str:
    """`name`, with a number where a tensor has it already."""
    taken = {item.name for item in (*graph.initializer, *graph.input)} | {out for node in graph.node
                                                                         for out in node.output}
    free, number = name, 1
    while free in taken:
        number, free = number + 1, f"{name}_{number}"
    return free


def add_constant(model: onnx.ModelProto, name: str, value: NDArray[np.generic]) -> str:
    """Adds an initializer; its name is `name`, with a number where that is taken."""
    free = free_name(model.graph, name)
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), free))
    return free


def remove_unused_initializers(model: onnx.ModelProto) -> None:
    """Drops constants that no node reads."""
    used = {name for node in model.graph.node for name in _read(node)} | {value.name for value in model.graph.output}
    kept = [initializer for initializer in model.graph.initializer if initializer.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def remove_unused_nodes(model: onnx.ModelProto) -> None:
    """Drops nodes whose outputs nothing reads, and those that only such nodes read; nodes may lie in any order."""
    makers = {name: position for position, node in enumerate(model.graph.node) for name in node.output}
    pending, kept = [value.name for value in model.graph.output], set[int]()
    while pending:
        position = makers.get(pending.pop())
        if position is not None and position not in kept:
            kept.add(position)
            pending += _read(model.graph.node[position])
    nodes = [node for position, node in enumerate(model.graph.node) if position in kept]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """What a node reads, its branches and loop bodies included, which see the tensors around them."""
    yield from node.input
    for entry in node.attribute:
        for graph in (*entry.graphs, *((entry.g,) if entry.HasField("g") else ())):
            yield from (value.name for value in graph.output)
            for inner in graph.node:
                yield from _read(inner)


def sort_topologically(proto: onnx.ModelProto) -> None:
    """Orders nodes so that each comes after those it reads from, otherwise as they were."""
    known = {value.name for value in (*proto.graph.input, *proto.graph.initializer)} | {""}
    waiting, ordered = list(proto.graph.node), []
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        assert ready, "a rewrite made a cycle"
        for node in ready:
            known.update(node.output)
        ordered += ready
        waiting = [node for node in waiting if not known.issuperset(node.output)]
    del proto.graph.node[:]
    proto.graph.node.extend(ordered)


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    shaped = inferred(model).graph
    values = (*shaped.input, *shaped.value_info, *shaped.output)
    return {value.name: len(value.type.tensor_type.shape.dim) for value in values
            if value.type.tensor_type.HasField("shape")}


def _is_spatial_mean(node: onnx.NodeProto, view: GraphView, ranks: dict[str, int]) -> bool:
    axes = attribute(node, "axes")  # an attribute up to opset 17, an input from 18 on
    if axes is None and len(node.input) > 1:
        axes = view.constant(node.input[1])
    if axes is None or ranks.get(node.input[0]) != 4:
        return False
    return sorted(int(axis) % 4 for axis in np.atleast_1d(np.asarray(axes))) == [2, 3]
