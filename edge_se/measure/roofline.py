"""Roofline estimates for boards that are not here: per kernel the larger of compute time and memory time.

A lower bound by construction: no kernel reaches both peaks. Williams, Waterman and Patterson, Roofline, CACM 2009.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx

from edge_se.core.errors import EdgeSeError
from edge_se.graph.counting import macs_by_node
from edge_se.graph.view import GraphView
from edge_se.measure.boards import Mode

WEIGHTED = ("Conv", "Gemm", "MatMul")
# What TensorRT fuses into the kernel before it where the shapes are equal: a residual Add into the convolution of one
# of its branches, ReLU and Add into an SE scale.
POINTWISE = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Add", "Mul")
FREE = ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast", "QuantizeLinear", "DequantizeLinear",
        "Constant")
BYTES = {"fp32": 4, "fp16": 2}


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One fused kernel for one image: its work, its traffic and whether its products are INT8."""

    name: str
    macs: int
    bytes: int
    weight_bytes: int
    int8: bool


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Milliseconds for one batch, and the kernels that each bound holds back."""

    milliseconds: float
    compute_bound: int
    memory_bound: int
    launch_share: float


def kernels_of(model: onnx.ModelProto, floats: str) -> list[Kernel]:
    """The kernels of a float or Q/DQ graph whose floats are stored as `floats` (fp32 or fp16)."""
    view, macs, shapes = GraphView(model), macs_by_node(model), _shapes(model)
    found = []
    for node in model.graph.node:
        if node.op_type in FREE or _host(node, view, shapes) is not None:
            continue
        read, last = _fusion(node, view, shapes)
        int8 = node.op_type in WEIGHTED and all(_is_int8(name, view) for name in node.input[:2])
        weights = node.input[1] if node.op_type in WEIGHTED else None
        traffic = sum(_elements(shapes, name) * (1 if _is_int8(name, view) else BYTES[floats])
                      for name in read if name != weights)
        written = view.consumers.get(last.output[0], [])
        only_int8 = bool(written) and all(reader.op_type == "QuantizeLinear" for reader in written)
        traffic += _elements(shapes, last.output[0]) * (1 if only_int8 else BYTES[floats])
        found.append(Kernel(name=node.output[0], macs=macs.get(node.output[0], 0), bytes=traffic, int8=int8,
                            weight_bytes=_elements(shapes, weights) * (1 if int8 else BYTES[floats]) if weights else 0))
    return found


def estimate(kernels: list[Kernel], mode: Mode, floats: str, *, batch: int, launch_us: float) -> Estimate:
    """The sum over kernels of max(compute, memory) and `launch_us` each; EdgeSeError where the GPU has no INT8."""
    if mode.int8_tops is None and any(kernel.int8 for kernel in kernels):
        raise EdgeSeError("its GPU has no INT8 units", where=mode.name, fix="deploy FP16 there")
    total, compute_bound = 0.0, 0
    for kernel in kernels:
        peak = mode.int8_tops.value if kernel.int8 and mode.int8_tops else mode.fp16_tflops.value
        peak = peak / 2 if not kernel.int8 and floats == "fp32" else peak
        compute = 2 * kernel.macs * batch / (peak * 1e12)
        memory = (kernel.bytes * batch + kernel.weight_bytes) / (mode.memory_gbs.value * 1e9)
        total += max(compute, memory)
        compute_bound += compute > memory
    launches = launch_us * 1e-6 * len(kernels)
    return Estimate(milliseconds=1000 * (total + launches), compute_bound=compute_bound,
                    memory_bound=len(kernels) - compute_bound, launch_share=launches / (total + launches))


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    inferred = onnx.shape_inference.infer_shapes(model)
    values = (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
    return shapes | {constant.name: list(constant.dims) for constant in inferred.graph.initializer}


def _elements(shapes: dict[str, list[int]], name: str) -> int:
    """For one image: a dynamic batch counts as 1, a fixed one is divided out by the caller's batch."""
    return math.prod(size or 1 for size in shapes.get(name, [0]))


def _is_int8(name: str, view: GraphView) -> bool:
    node = view.producer.get(name)
    return node is not None and node.op_type == "DequantizeLinear"


def _host(node: onnx.NodeProto, view: GraphView, shapes: dict[str, list[int]]) -> onnx.NodeProto | None:
    """The node whose kernel takes the pointwise `node` along: the first producer that nothing else reads."""
    if node.op_type not in POINTWISE:
        return None
    for name in view.data_inputs(node):
        producer: onnx.NodeProto | None = view.producer.get(name)
        if producer is not None and producer.op_type in (*WEIGHTED, *POINTWISE) and view.only_consumer(name) is node \
                and shapes.get(name) == shapes.get(node.output[0]):
            return producer
    return None


def _fusion(first: onnx.NodeProto, view: GraphView, shapes: dict[str, list[int]]) -> tuple[list[str], onnx.NodeProto]:
    """What the kernel that starts at `first` reads from memory, and its last node."""
    read, node = list(first.input), first
    while True:
        following = view.only_consumer(node.output[0])
        if following is None or _host(following, view, shapes) is not node:
            return [name for name in read if name], node
        read += [name for name in following.input if name != node.output[0]]
        node = following
