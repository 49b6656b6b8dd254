"""Roofline estimates for boards that are not here: per kernel the larger of compute time and memory time.

A lower bound by construction: no kernel reaches both peaks. Williams, Waterman and Patterson, Roofline, CACM 2009.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx

from edge_se.core.errors import EdgeSeError
from edge_se.graph.counting import WEIGHTED, elements_per_image, fixed_batch, macs_by_node, shapes_of
from edge_se.graph.view import GraphView
from edge_se.measure.boards import Mode

# TensorRT fuses these into the kernel before them if the shapes are equal: a residual Add into the convolution of one
# of its branches, ReLU and Add into an SE scale.
POINTWISE = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Add", "Mul")
FREE = ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast", "QuantizeLinear", "DequantizeLinear",
        "Constant")
BYTES = {"fp32": 4, "fp16": 2}


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One fused kernel for one image: its work, its traffic and whether its products are INT8.

    `bytes` counts activations, for each image; `weight_bytes` counts constants, once a batch.
    """

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
    """The kernels of a float or Q/DQ graph whose floats are stored as `floats` (fp32 or fp16).

    Figures are for one image: a batch that is fixed in the graph is divided out.
    """
    view, macs, shapes = GraphView(model), macs_by_node(model), shapes_of(model)
    batch, constants = fixed_batch(model), _constants(model)
    kernels = []
    for node in model.graph.node:
        if node.op_type in FREE or _host(node, view, shapes) is not None:
            continue
        read, last = _fusion(node, view, shapes)
        int8 = node.op_type in WEIGHTED and all(_is_int8(name, view) for name in node.input[:2])
        traffic = sum(elements_per_image(shapes.get(name, [0]), batch) * (1 if _is_int8(name, view) else BYTES[floats])
                      for name in read if name not in constants)
        written = view.consumers.get(last.output[0], [])
        only_int8 = bool(written) and all(reader.op_type == "QuantizeLinear" for reader in written)
        traffic += elements_per_image(shapes.get(last.output[0], [0]), batch) * (1 if only_int8 else BYTES[floats])
        weights = sum(math.prod(shapes.get(name, [0])) * (1 if int8 and name == node.input[1] else BYTES[floats])
                      for name in read if name in constants)
        kernels.append(Kernel(name=node.output[0], macs=macs.get(node.output[0], 0), bytes=traffic, int8=int8,
                              weight_bytes=weights))
    return kernels


def estimate(kernels: list[Kernel], mode: Mode, floats: str, *, batch: int, launch_us: float) -> Estimate:
    """The sum over kernels of max(compute, memory) and `launch_us` each; EdgeSeError where the GPU has no INT8."""
    if mode.int8_tops is None and any(kernel.int8 for kernel in kernels):
        raise EdgeSeError(mode.without_int8, where=mode.name, fix="deploy FP16 there")
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


def _constants(model: onnx.ModelProto) -> set[str]:
    """Tensors that no image changes: initializers, and what is computed from nothing else."""
    constants = {initializer.name for initializer in model.graph.initializer}
    for node in model.graph.node:
        if all(name in constants for name in node.input if name):
            constants.update(node.output)
    return constants


def _is_int8(name: str, view: GraphView) -> bool:
    node = view.producer.get(name)
    return node is not None and node.op_type == "DequantizeLinear"


def _host(node: onnx.NodeProto, view: GraphView, shapes: dict[str, list[int]]) -> onnx.NodeProto | None:
    """The node whose kernel includes the pointwise `node`: the first producer that nothing else reads."""
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
