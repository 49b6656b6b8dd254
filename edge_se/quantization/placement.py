"""Placement: which nodes of a graph run in INT8 on which target."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from edge_se.core.errors import EdgeSeError, did_you_mean
from edge_se.graph.counting import macs_by_node
from edge_se.graph.image_input import image_forms
from edge_se.graph.view import GraphView, attribute
from edge_se.quantization.excitations import behind_shapes, factors, find_excitations
from edge_se.quantization.swishes import narrow_layers
from edge_se.quantization.targets import WEIGHTED, Target

PLACEMENTS = {
    "all": "everything that the target quantizes, excitations too",
    "se-float": "everything but the inside of excitations (pool and scale stay INT8 where the target has kernels)",
    "ends-float": "se-float, and the first layer, the last one and the pool before it in float too: they lose most",
    "sums-float": "ends-float, and sums of two computed tensors in float too: the stream that a LayerNorm reads",
    "conv-only": "convolutions and linear layers only, excitations in float",
}

CONV_ONLY = (*WEIGHTED, "Relu", "Clip")
ENDS_MAC_SHARE = 0.01  # ends that hold more of the MACs than this cost time that their accuracy may not be worth
NORMS = ("LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization", "GroupNormalization",
         "InstanceNormalization")  # of what they see; batch norm is folded
MOVING = ("Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")
ELEMENTWISE = ("Add", "Sub", "Mul", "Div")
POOLS = ("GlobalAveragePool", "AveragePool", "ReduceMean")
UNWEIGHTED = (*POOLS, "Flatten", "Reshape", "Squeeze", "Identity")


@dataclass(frozen=True, kw_only=True)
class Placement:
    """What runs in INT8 of one graph: operators to quantize, nodes left out, Adds whose residual input gets Q/DQ."""

    name: str
    operators: tuple[str, ...]
    float_nodes: tuple[str, ...]        # by the name of their first output
    residual_inputs: tuple[tuple[str, str], ...]  # (output of the Add, name of its residual input)
    narrow_groups: tuple[str, ...] = ()  # float convolutions that onnxruntime must not quantize by itself


def default_placement(model: onnx.ModelProto) -> str:
    """`ends-float` where the first and the last layer are a trifle of the MACs, else `se-float`."""
    macs, spared = macs_by_node(model), ends(model)
    share = sum(macs.get(name, 0) for name in spared) / max(1, sum(macs.values()))
    return "ends-float" if share <= ENDS_MAC_SHARE else "se-float"


def require_placement(name: str) -> str:
    """The name, when it is one of `PLACEMENTS`; EdgeSeError with a suggestion otherwise."""
    if name not in PLACEMENTS:
        raise EdgeSeError(f"unknown placement '{name}'", where="--placement",
                          fix=did_you_mean(name, (*PLACEMENTS, "auto")))  # `auto` chooses among them
    return name


def place(model: onnx.ModelProto, target: Target, name: str | None = None) -> Placement:
    """The placement of a name (`default_placement` when None); EdgeSeError for an unknown name."""
    name = require_placement(name or default_placement(model))
    spared = [] if name == "all" else [node for excitation in find_excitations(model) for node in excitation.inner]
    if name in ("ends-float", "sums-float"):
        spared += ends(model)
    if name == "sums-float":
        spared += sums(model)
    spared += float_in_all(model)
    if not target.depthwise:
        spared += depthwise(model)
    spared += image_forms(model)[1:]  # the first layer's own Q/DQ is behind them
    narrow = narrow_groups(model, target.narrow_group)
    if target.narrow_swishes:
        beside, convolutions = narrow_layers(model)
        spared, narrow = [*spared, *(name for name in beside if name not in convolutions)], [*narrow, *convolutions]
    narrow = [name for name in dict.fromkeys(narrow) if name not in spared]
    operators = target.operators if name != "conv-only" else CONV_ONLY
    residual = () if not target.quantized_residuals or name == "conv-only" else tuple(residual_inputs(model))
    return Placement(name=name, operators=operators if target.quantized_outputs else WEIGHTED,
                     float_nodes=(*spared, *narrow), residual_inputs=residual, narrow_groups=tuple(narrow))


def measured_placements(model: onnx.ModelProto, target: Target) -> tuple[str, ...]:
    """The placements among which no rule decides, the default one first; empty where a rule does.

    A LayerNorm divides by what the residual stream is, so that steps of 8 bits, as wide as its largest outlier, may be
    all that is left of it. How much is lost depends on the weights.
    """
    if not target.quantized_outputs or not normalises(model):
        return ()
    return default_placement(model), "sums-float", "conv-only"


def normalises(model: onnx.ModelProto) -> bool:
    """Whether a layer normalises by what it sees, as LayerNorm and its kin do, as one operator or spelled out."""
    view = GraphView(model)
    roots = {node.output[0] for node in model.graph.node if node.op_type == "Sqrt" and view.data_inputs(node)}
    return any(node.op_type in NORMS or (node.op_type == "Div" and node.input[1] in roots) for node in model.graph.node)


def sums(model: onnx.ModelProto) -> list[str]:
    """Every Add of two computed tensors, by its output."""
    view = GraphView(model)
    return [node.output[0] for node in model.graph.node if node.op_type == "Add" and len(view.data_inputs(node)) == 2]


def narrow_groups(model: onnx.ModelProto, most: int) -> list[str]:
    """Convolutions with groups of at most `most` input channels, by their first output; depthwise ones are left out.

    A depthwise convolution makes one channel of each one; with more outputs it runs as a grouped one does.
    """
    view, narrow = GraphView(model), []
    for node in model.graph.node:
        weight = view.constant(node.input[1]) if node.op_type == "Conv" else None
        groups = attribute(node, "group", 1)
        if weight is not None and groups != 1 and weight.shape[1] <= most and weight.shape[:2] != (groups, 1):
            narrow.append(node.output[0])
    return narrow


def depthwise(model: onnx.ModelProto) -> list[str]:
    """Convolutions of one channel a group, also with more outputs, by their first output."""
    view = GraphView(model)
    return [node.output[0] for node in model.graph.node if node.op_type == "Conv" and attribute(node, "group", 1) != 1
            and (weight := view.constant(node.input[1])) is not None and weight.shape[1] == 1]


def float_in_all(model: onnx.ModelProto) -> list[str]:
    """What stays float in every placement, by first output: each loses much, and holds few of the MACs."""
    return [*attention(model), *means_of_powers(model), *sums_of_parts(model)]


def attention(model: onnx.ModelProto) -> list[str]:
    """Products of two computed tensors, Softmax, and the elementwise nodes beside it, by first output: what scales and
    masks scores, and products that read a Softmax.

    onnxruntime fuses Q/DQ around a Softmax into QLinearSoftmax, whose one step of output (1/256) is more than all of a
    nearly uniform attention over some hundred tokens. A product that weighs branches by a Softmax, as in SK nets, would
    bring the Q. In every runtime scores of 8 bits cost accuracy (2 to 8 dB of LeViT and BoTNet,
    `python bench/classifiers.py`), beside a mask of -1e9 nothing is left of them, and such products hold few of the
    MACs.
    """
    view, found = GraphView(model), []
    for node in model.graph.node:
        if node.op_type == "MatMul" and len(view.data_inputs(node)) == 2:
            found.append(node.output[0])
        elif node.op_type == "Softmax":
            found += [*_scores(node, view), node.output[0]]
            pending = list(view.consumers[node.output[0]])
            while pending:
                reader = pending.pop()
                if reader.op_type == "Mul":
                    found.append(reader.output[0])
                elif reader.op_type in MOVING:
                    pending.extend(other for name in reader.output for other in view.consumers[name])
    return list(dict.fromkeys(found))


def _scores(softmax: onnx.NodeProto, view: GraphView) -> list[str]:
    """Elementwise nodes between a Softmax and the product of two computed tensors that it reads; none without one."""
    found, pending, products = list[str](), [softmax.input[0]], 0
    while pending:
        node = view.producer.get(pending.pop())
        if node is None or node.output[0] in found:
            continue
        read = view.data_inputs(node)
        if node.op_type in ELEMENTWISE:
            found.append(node.output[0])
        if node.op_type in (*ELEMENTWISE, *MOVING, "Where"):
            pending += read
        products += node.op_type in ("MatMul", "Einsum") and len(read) == 2
    return found if products else []


def means_of_powers(model: onnx.ModelProto) -> list[str]:
    """Averages of powers (GeM pools, arXiv 1711.02512) and of exponentials, by their first output.

    8 bits of cubes, whose largest is far above the others, leave most of them at 0: `mini_se` with such a pool agrees
    with FP32 at 14 dB in place of 32.
    """
    view, found = GraphView(model), []
    for node in model.graph.node:
        before = view.producer.get(node.input[0]) if node.op_type in POOLS else None
        if before is None:
            continue
        squares = before.op_type == "Mul" and len(set(before.input)) == 1
        if squares or before.op_type in ("Pow", "Exp"):
            found.append(node.output[0])
    return found


def sums_of_parts(model: onnx.ModelProto) -> list[str]:
    """Every Add of parts of one tensor, by its output: torch exports an adaptive pool of uneven windows so.

    Each of the sums would be rounded to 8 bits anew, pixel for pixel of a window.
    """
    view, found = GraphView(model), []
    whole: dict[str, str] = {}  # of a tensor that is a part, or a sum of parts: what they are parts of
    for node in model.graph.node:
        read = view.data_inputs(node)
        wholes = {whole.get(name, name) for name in read}
        sums_up = node.op_type == "Add" and len(set(read)) == 2
        if len(wholes) == 1 and (sums_up or node.op_type in (*MOVING, "GatherND", "Where")):
            whole.update(dict.fromkeys(node.output, wholes.pop()))
            found += [node.output[0]] if sums_up else []
    return found


def ends(model: onnx.ModelProto) -> list[str]:
    """The layers that read the image, the one that makes the logits and the pool before it, by their first output."""
    view, images = GraphView(model), set(image_forms(model))
    weighted = [node for node in model.graph.node if node.op_type in WEIGHTED]
    outer = [node.output[0] for node in weighted if images.intersection(view.data_inputs(node))]
    last: onnx.NodeProto | None = weighted[-1] if weighted else None
    while last is not None and last.output[0] not in outer:
        outer.append(last.output[0])
        before = view.producer.get(last.input[0])
        last = before if before is not None and before.op_type in UNWEIGHTED else None
    return outer


def residual_inputs(model: onnx.ModelProto) -> list[tuple[str, str]]:
    """(output, residual input) of every Add of two computed tensors.

    The residual input is the one that fewer nodes lie behind: the shortcut, projected or not. The other branch
    ends in the convolution that TensorRT fuses with the Add; where it ends in something else (a transformer's linear
    layer) Q/DQ on the residual stream buys nothing and costs accuracy, so such Adds are left out. The inside of
    excitations does not count: one on the shortcut is longer than the branch.
    """
    view = GraphView(model)
    depth = {value.name: 0 for value in model.graph.input}
    excitations = find_excitations(model)
    inside = {name for excitation in excitations for name in (*excitation.squeezes, *excitation.inner)}
    scales = {excitation.scale: behind_shapes(factors(excitation, view)[0], view) for excitation in excitations}
    for node in model.graph.node:
        if node.output[0] in inside:
            continue
        behind = max((depth.get(name, 0) for name in node.input), default=0)
        depth.update(dict.fromkeys(node.output, behind + 1))
    residual = []
    for node in model.graph.node:
        branches = view.data_inputs(node)
        if node.op_type == "Add" and len(branches) == 2 and node.output[0] not in inside:
            shortcut = min(branches, key=lambda name: depth[name])
            branch = next((name for name in branches if name != shortcut), shortcut)
            if _ends_in_convolution(branch, scales, view):
                residual.append((node.output[0], shortcut))
    return residual


def _ends_in_convolution(name: str, scales: dict[str, str], view: GraphView) -> bool:
    """Whether a convolution makes `name`, be it through an activation, a normalisation or an excitation's scale."""
    node = view.producer.get(name)
    while node is not None and node.op_type != "Conv":
        if node.output[0] in scales:
            node = view.producer.get(scales[node.output[0]])
        elif node.op_type in ("Relu", "Clip", "BatchNormalization", "Identity"):
            node = view.producer.get(node.input[0])
        else:
            return False
    return node is not None
