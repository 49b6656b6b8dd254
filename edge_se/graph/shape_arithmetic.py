"""Shape arithmetic: what exporters write to compute the sizes of tensors while the network runs.

With a fixed image size all its results are known but the batch. Left in the graph, it hides the shapes of later
layers from counting and quantization, and costs time on the device.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge_se.graph.onnx_model import image_input
from edge_se.graph.trial import Array, outputs_of, random_images, session_of
from edge_se.graph.upgrading import graphs_of
from edge_se.graph.view import attribute

BATCHES = (1, 2, 3)  # 1 shows sizes that are broadcast or squeezed, 2 and 3 those that grow with the batch
SIZES = ("Shape", "Size")  # their results depend on no pixel
ELEMENTWISE = ("Add", "Sub", "Mul", "Div")
RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")


def resolve_shapes(model: onnx.ModelProto, path: Path) -> int:
    """Replaces values that depend on neither pixels nor batch, and targets of reshapes, by constants; returns how many.

    A reshape to a computed shape gets -1 for the size that grows with the batch. What is the same for each image (a
    class token, codes of positions) becomes one constant, which elementwise nodes broadcast and others read expanded.
    `model` is changed; its height and width are fixed. Nodes that nobody reads are left to onnxruntime's optimizer.
    ModelError when it does not run.
    """
    batch = image_input(model).type.tensor_type.shape.dim[0].dim_value
    seen = _depending_on_pixels(model)
    constants = {initializer.name for initializer in model.graph.initializer}
    border = _read_by(seen, model) - seen - constants - {""}
    reshapes = [node for node in model.graph.node if node.op_type in ("Reshape", "Gather") and node.output[0] in seen
                and node.input[1] in border]
    if not border:
        return 0
    wanted = sorted(border | {node.output[0] for node in reshapes} | {
        node.input[0] for node in reshapes if node.op_type == "Gather" and node.input[0] in seen} | {
        name for node in model.graph.node if node.op_type in ELEMENTWISE and border.intersection(node.input)
        for name in node.input if name in seen})
    runs = _values(model, wanted, [batch] if batch else list(BATCHES), path)
    resolved = 0
    for name in sorted(border):
        first, *others = (run[name] for run in runs)
        if isinstance(first, np.ndarray) and all(np.array_equal(first, other) for other in others):
            _replace_everywhere(model.graph, name, _constant(model, f"{name}_resolved", first))
            resolved += 1
    for node in reshapes:
        shape = _reshaped_to([run[node.output[0]].shape for run in runs])
        if node.input[1] in border and shape is not None and (
                node.op_type == "Reshape" or all(_takes_all_in_order(node, run) for run in runs)):
            node.op_type = "Reshape"
            del node.attribute[:]
            node.input[1] = _constant(model, f"{node.output[0]}_resolved_shape", np.array(shape, np.int64))
            resolved += 1
    for name in sorted(_read_by(seen, model) & border):
        values = [run[name] for run in runs]
        if (sizes := _per_image(values)) is not None and not _is_spelled_out(name, model):
            _replace_everywhere(model.graph, name, _spelled_out(model, name, *sizes))
            resolved += 1
        elif (axis := _repeated_along(values)) is not None:
            constant = _constant(model, f"{name}_resolved", values[0])
            _broadcast(model, name, constant, axis - values[0].ndim, runs)
            _replace_everywhere(model.graph, name, _expanded(model, constant, values[0].ndim, axis))
            resolved += 1
    return resolved


def _depending_on_pixels(model: onnx.ModelProto) -> set[str]:
    """Tensors of the main graph whose values depend on the image, not on its size alone; random ones as well."""
    dependent = {image_input(model).name}
    for node in model.graph.node:
        if node.op_type in RANDOM or (node.op_type not in SIZES and dependent.intersection(_all_inputs(node))):
            dependent.update(node.output)
    return dependent


def _read_by(outputs: set[str], model: onnx.ModelProto) -> set[str]:
    """All tensors that the nodes making `outputs` read, and the conditions of branches."""
    read = {name for node in model.graph.node if outputs.intersection(node.output) for name in _all_inputs(node)}
    return read | {name for node in model.graph.node if node.op_type == "If" for name in node.input}


def _all_inputs(node: onnx.NodeProto) -> set[str]:
    """What a node reads, and what the bodies of its control flow capture."""
    bodies = [body for entry in node.attribute for body in (*([entry.g] if entry.HasField("g") else []), *entry.graphs)]
    inner = {name for body in bodies for graph in graphs_of(body) for part in graph.node for name in part.input}
    inner |= {value.name for body in bodies for graph in graphs_of(body) for value in graph.output}
    made = {name for body in bodies for graph in graphs_of(body) for part in graph.node for name in part.output}
    made |= {constant.name for body in bodies for graph in graphs_of(body) for constant in graph.initializer}
    return {*node.input, *(inner - made)}


def _values(model: onnx.ModelProto, names: list[str], batches: list[int], path: Path) -> list[dict[str, Array]]:
    """The tensors `names` for each size of batch."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    declared = {value.name for value in watched.graph.output}
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in declared)
    session = session_of(watched, path)
    return [dict(zip(names, outputs_of(session, random_images(model, batch), path, names))) for batch in batches]


def _takes_all_in_order(gather: onnx.NodeProto, run: dict[str, Array]) -> bool:
    """Whether a Gather along the first axis picks all elements of a list as they are, as torch spells `as_strided`."""
    data, index = run[gather.input[0]], run[gather.input[1]]
    return attribute(gather, "axis", 0) == 0 and data.ndim == 1 \
        and np.array_equal(index.ravel(), np.arange(data.size))


def _reshaped_to(shapes: list[tuple[int, ...]]) -> list[int] | None:
    """One target for a reshape that gives all of `shapes`; None where more than one size grows with the batch."""
    if len({len(shape) for shape in shapes}) != 1 or 0 in shapes[0]:
        return None
    varying = [axis for axis, sizes in enumerate(zip(*shapes)) if len(set(sizes)) > 1]
    return None if len(varying) > 1 else [-1 if axis in varying else size for axis, size in enumerate(shapes[0])]


def _per_image(values: list[Array]) -> tuple[list[int], list[int]] | None:
    """A list of sizes for each of BATCHES as (constant part, part for each image); None for anything else."""
    if len(values) != len(BATCHES) or any(value.dtype != np.int64 or value.ndim != 1 for value in values) \
            or len({len(value) for value in values}) != 1:
        return None
    growing = values[1] - values[0]
    constant = values[0] - growing
    if not np.array_equal(values[2], constant + 3 * growing) or (constant * growing).any():
        return None  # nobody needs a size that is a sum of both
    return constant.tolist(), growing.tolist()


def _repeated_along(values: list[Array]) -> int | None:
    """The axis along which a float tensor for each of BATCHES repeats that of one image; None for anything else."""
    if len(values) != len(BATCHES) or any(value.dtype.kind != "f" for value in values):
        return None
    growing = [axis for axis, sizes in enumerate(zip(*(value.shape for value in values))) if sizes == BATCHES]
    if len(growing) != 1 or len({value.ndim for value in values}) != 1:
        return None
    repeats = (np.repeat(values[0], batch, growing[0]) for batch in BATCHES)
    return growing[0] if all(value.shape == repeat.shape and np.allclose(value, repeat, rtol=1e-5, atol=0)
                             for value, repeat in zip(values, repeats)) else None


def _is_spelled_out(name: str, model: onnx.ModelProto) -> bool:
    maker = next(node for node in model.graph.node if name in node.output)
    return maker.op_type in ("Concat", *SIZES, "Gather")  # as short as it gets; onnx's shape inference follows it


def _spelled_out(model: onnx.ModelProto, name: str, constant: list[int], growing: list[int]) -> str:
    """The name of a list of constants and multiples of the batch, spelled as onnx's shape inference reads it."""
    made = f"{name}_sizes"
    first = _constant(model, f"{made}_first", np.array([0], np.int64))
    parts, nodes = [], [helper.make_node("Shape", [image_input(model).name], [f"{made}_image"]),
                        helper.make_node("Gather", [f"{made}_image", first], [f"{made}_batch"])]
    for axis, (size, factor) in enumerate(zip(constant, growing)):
        if factor == 1:
            parts.append(f"{made}_batch")
        elif factor:
            times = _constant(model, f"{made}_factor{axis}", np.array([factor], np.int64))
            nodes.append(helper.make_node("Mul", [f"{made}_batch", times], [f"{made}_{axis}"]))
            parts.append(f"{made}_{axis}")
        else:
            parts.append(_constant(model, f"{made}_{axis}", np.array([size], np.int64)))
    nodes.append(helper.make_node("Concat", parts, [made], axis=0))
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    return made


def _broadcast(model: onnx.ModelProto, name: str, constant: str, axis: int, runs: list[dict[str, Array]]) -> None:
    """Has elementwise nodes read `constant` for `name` where their other input has all images along `axis` (< 0)."""
    for node in model.graph.node:
        others = [other for other in node.input if other != name] if node.op_type in ELEMENTWISE else []
        values = [run[others[0]] for run in runs] if len(others) == 1 and others[0] in runs[0] else []
        if values and all(value.ndim >= -axis and value.shape[axis] == batch for value, batch in zip(values, BATCHES)):
            _replace(node, name, constant)


def _expanded(model: onnx.ModelProto, constant: str, rank: int, axis: int) -> str:
    """The name of `constant` (1 along `axis`) repeated for each image."""
    made = f"{constant}_expanded"
    batch = [int(index == axis) for index in range(rank)]
    sizes = _spelled_out(model, made, [1 - part for part in batch], batch)
    place = next(index for index, node in enumerate(model.graph.node) if sizes in node.output)
    model.graph.node.insert(place + 1, helper.make_node("Expand", [constant, sizes], [made]))
    return made


def _constant(model: onnx.ModelProto, wished: str, value: Array) -> str:
    """The name under which `value` became an initializer of `model`."""
    taken = {initializer.name for initializer in model.graph.initializer}
    taken.update(output for node in model.graph.node for output in node.output)
    name = next(name for name in (wished, *(f"{wished}_{count}" for count in range(len(taken) + 1)))
                if name not in taken)
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def _replace_everywhere(graph: onnx.GraphProto, old: str, new: str) -> None:
    for part in graphs_of(graph):
        for node in part.node:
            _replace(node, old, new)


def _replace(node: onnx.NodeProto, old: str, new: str) -> None:
    for position, name in enumerate(node.input):
        if name == old:
            node.input[position] = new
