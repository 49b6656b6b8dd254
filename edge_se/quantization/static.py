"""Static INT8 quantization: FP32 graph + ranges + placement -> Q/DQ graph for one target."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge_se.core.errors import CalibrationError
from edge_se.graph.fp16 import with_half_floats
from edge_se.graph.joined import is_gathered, is_joined
from edge_se.graph.kept_axes import with_kept_axes
from edge_se.graph.metadata import write_metadata
from edge_se.graph.names import NeutralNames
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.rewrites import checked, raise_opset, sort_topologically
from edge_se.graph.view import GraphView, attribute
from edge_se.graph.zero_padding import with_tiny_padding
from edge_se.quantization.dynamic import any_ranges, with_dynamic_steps
from edge_se.quantization.own_weights import stacked, with_own_weights
from edge_se.quantization.pixels import bounds_of_pixels
from edge_se.quantization.placement import Placement
from edge_se.quantization.ranges import Ranges
from edge_se.quantization.targets import Target, is_symmetric
from edge_se.quantization.watching import with_clipped

FILLS = 1e-9  # of the largest weight: a channel's share of what it reads, far below a step of 8 bits
NOTHING, SOMETHING = 1e-8, 1.0  # a tensor no wider than the first on every calibration image gets the second as range


def quantize(model: OnnxModel, ranges: Ranges, target: Target, placement: Placement) -> OnnxModel:
    """The Q/DQ graph of `model` for `target`; CalibrationError when the ranges belong to another graph."""
    if ranges.model_sha256 != model.sha256:
        raise CalibrationError("these ranges were collected on another model", where=ranges.calibration,
                               fix="calibrate this model")
    ranges = replace(ranges, bounds=with_clipped(model.proto, ranges.bounds) if target.calibrated
                     else any_ranges(model.proto))
    if model.metadata and target.calibrated:
        symmetric = {name: is_symmetric(target.activations, low) for name, (low, _) in ranges.bounds.items()}
        pixels = bounds_of_pixels(model.proto, model.metadata.preprocessing, ranges.bounds, symmetric)
        ranges = replace(ranges, bounds=ranges.bounds | pixels)
    ranges = replace(ranges, bounds=_with_width(ranges.bounds))
    if target.activations == "by-sign":
        ranges = replace(ranges, bounds=_with_zero_points(model.proto, ranges.bounds))
    proto = _named(model.copy())
    with_own_weights(proto, placement)
    names = NeutralNames(proto)
    ranges, placement = _renamed(ranges, placement, names)
    if not target.half_floats:  # FP16 holds no scale that small, and keeps its biases in float
        _fill_empty_channels(proto)
    with _quiet():
        quantizer = _quantizer(proto, ranges, target, placement)
        quantizer.quantize_model()
    proto = quantizer.model.model
    for output, name in placement.residual_inputs:
        _quantize_residual_input(proto, output, name, ranges.bounds[name])
    for output in placement.narrow_groups if target.quantized_outputs else ():
        _keep_float(proto, output)
    if not target.calibrated:
        with_dynamic_steps(proto)
    if target.activations == "by-sign":  # what a Concat makes has a zero point
        with_tiny_padding(proto)
        proto = with_kept_axes(proto)
    sort_topologically(proto)
    proto.producer_name, proto.producer_version, proto.ir_version = "edge-se", "", model.proto.ir_version
    if target.half_floats:
        proto = with_half_floats(raise_opset(proto, target.opset))
    names.restore(proto)
    if model.metadata:
        write_metadata(proto, model.metadata)
    return OnnxModel.of(checked(proto), precision="int8", target=target.name, parent=model)


def _with_width(bounds: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """`bounds` in which what was zero on every calibration image, as a ReLU's result may be, has a width.

    onnxruntime's quantizer gives such a tensor the scale 1 and the zero point 0. In int8 that lets pass what the ReLU
    stops, once it is taken out (findings/onnxruntime_lost_relu.sh); in every type the int32 bias of the layer behind
    then has steps as wide as those of its weights.
    """
    return {name: (low, SOMETHING) if max(high, 0) - min(low, 0) < NOTHING else (low, high)
            for name, (low, high) in bounds.items()}


def _with_zero_points(proto: onnx.ModelProto, bounds: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """`bounds` in which what a Gather of channels makes begins a step below zero: uint8 has a zero point of 1 then."""
    view = GraphView(proto)
    return {name: (min(low, -high / 254), high) if is_gathered(name, view) else (low, high)
            for name, (low, high) in bounds.items()}


def _renamed(ranges: Ranges, placement: Placement, names: NeutralNames) -> tuple[Ranges, Placement]:
    return (replace(ranges, bounds={names[name]: bounds for name, bounds in ranges.bounds.items()}),
            replace(placement, float_nodes=tuple(names[name] for name in placement.float_nodes),
                    residual_inputs=tuple((names[add], names[name]) for add, name in placement.residual_inputs),
                    narrow_groups=tuple(names[name] for name in placement.narrow_groups)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the root logger, to which onnxruntime's quantizer tells its options at every call."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def _quantizer(proto: onnx.ModelProto, ranges: Ranges, target: Target, placement: Placement) -> Any:
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import QuantType

    bounds = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.bounds.items()}
    names = {node.output[0]: node.name for node in proto.graph.node}
    unsigned = target.activations in ("uint8", "by-sign")
    return QDQQuantizer(
        proto, per_channel=True, reduce_range=target.weight_bits == 7, weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8 if unsigned else QuantType.QInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, bounds),
        nodes_to_quantize=[],
        nodes_to_exclude=[names[output] for output in (*placement.float_nodes, *_needed_clips(proto, ranges.bounds))],
        op_types_to_quantize=list(placement.operators),
        extra_options={
            "ActivationSymmetric": target.activations == "int8-symmetric", "WeightSymmetric": True,
            "QuantizeBias": target.quantized_bias,
            "TensorQuantOverrides": {name: [{"quant_type": QuantType.QInt8, "symmetric": True}]
                                     for name in (*_signed(proto, ranges, target), *stacked(proto, placement))},
            "OpTypesToExcludeOutputQuantization": [] if target.quantized_outputs else list(placement.operators),
        })


def _needed_clips(proto: onnx.ModelProto, bounds: dict[str, tuple[float, float]]) -> list[str]:
    """Clips, by their output, that stop numbers which 8 bits hold.

    onnxruntime's quantizer takes out every Clip behind a layer, as if integers ended where it does. They end at zero
    where its bounds are both above or both below, beyond them where the tensor was given a width, and nowhere in
    particular where a bound is computed.
    """
    view, needed = GraphView(proto), []
    for node in proto.graph.node:
        if node.op_type == "Clip" and node.output[0] in bounds:
            low, high = bounds[node.output[0]]
            lower, upper = (view.constant(name) for name in (*node.input[1:], "", "")[:2])
            computed = any(name and view.constant(name) is None for name in node.input[1:])
            if computed or (lower is not None and float(lower.item()) > min(low, 0)) or (
                    upper is not None and float(upper.item()) < max(high, 0)):
                needed.append(node.output[0])
    return needed


def _signed(proto: onnx.ModelProto, ranges: Ranges, target: Target) -> list[str]:
    """Tensors that are int8 though others are uint8: those that go below zero, unless a ReLU follows or a Concat makes
    them.
    """
    if target.activations != "by-sign":
        return []
    view = GraphView(proto)
    into_relu = {node.input[0] for node in proto.graph.node
                 if node.op_type == "Relu" and view.only_consumer(node.input[0]) is not None}
    return [name for name, (low, _) in ranges.bounds.items()
            if low < 0 and name not in into_relu and not is_joined(name, view)]


def _named(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Gives every node a unique name: onnxruntime excludes by name, and exporters may leave names out."""
    seen: set[str] = set()
    for position, node in enumerate(proto.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{position}"
        seen.add(node.name)
    return proto


def _fill_empty_channels(proto: onnx.ModelProto) -> None:
    """Gives each output channel whose weights are all zero, and whose bias is not, one weight too small to matter.

    onnxruntime's quantizer gives a channel without weights the scale 1, and a bias in 32 bits, in the file or in
    onnxruntime's kernel, then steps by the scale of the input: the channel's constant is off by up to half of that.
    """
    view = GraphView(proto)
    for node in proto.graph.node:
        if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3 or node.input[1] not in view.initializers:
            continue
        bias, stored = view.constant(node.input[2]), view.initializers[node.input[1]]
        weight = numpy_helper.to_array(stored)
        by_channel = weight.T if node.op_type == "Gemm" and not attribute(node, "transB", 0) else weight
        flat = np.abs(by_channel).reshape(len(by_channel), -1).max(1)
        if bias is None or bias.shape != flat.shape or flat.all() or not (empty := (flat == 0) & (bias != 0)).any():
            continue
        filled = np.array(by_channel, order="C")
        filled.reshape(len(filled), -1)[empty, 0] = FILLS * (float(flat.max()) or 1.0)
        stored.CopyFrom(numpy_helper.from_array(
            np.ascontiguousarray(filled if by_channel is weight else filled.T), stored.name))


def _quantize_residual_input(proto: onnx.ModelProto, output: str, name: str, bounds: tuple[float, float]) -> None:
    """Puts Q/DQ in front of the residual input `name` of the Add that makes `output`.

    The QuantizeLinear that a convolution already put on the same tensor is shared, so the tensor exists once in
    INT8; the DequantizeLinear is the Add's own, since TensorRT fuses it into its consumer.
    """
    view = GraphView(proto)
    add = view.producer[output]
    position = next(index for index, read in enumerate(add.input) if _before_quantization(read, view) == name)
    quantized = next((node for node in view.consumers[name] if node.op_type == "QuantizeLinear"), None)
    if quantized is None:
        scale = max(abs(bounds[0]), abs(bounds[1])) / 127
        proto.graph.initializer.append(numpy_helper.from_array(np.array(scale, np.float32), f"{name}_scale"))
        proto.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int8), f"{name}_zero_point"))
        quantized = helper.make_node("QuantizeLinear", [name, f"{name}_scale", f"{name}_zero_point"],
                                     [f"{name}_QuantizeLinear_Output"], f"{name}_QuantizeLinear")
        proto.graph.node.append(quantized)
    restored = f"{output}_residual"
    proto.graph.node.append(helper.make_node("DequantizeLinear", [quantized.output[0], *quantized.input[1:]],
                                             [restored], f"{restored}_DequantizeLinear"))
    add.input[position] = restored


def _keep_float(proto: onnx.ModelProto, output: str) -> None:
    """Gives the float convolution that makes `output` a DequantizeLinear of its own with a scale for each channel.

    All channels have the same scale, so the values are as before. With one scale for the whole tensor onnxruntime
    quantizes the weights between DequantizeLinear and QuantizeLinear by itself, with one scale for all of them (its
    WeightBiasQuantization), and runs the INT8 kernel after all.
    """
    view = GraphView(proto)
    node = view.producer[output]
    weight, shared = view.constant(node.input[1]), view.producer.get(node.input[0])
    if weight is None or shared is None or shared.op_type != "DequantizeLinear":
        return
    channels = weight.shape[1] * cast(int, attribute(node, "group", 1))
    names = [f"{output}_input_scale", f"{output}_input_zero_point"]
    for name, source in zip(names, shared.input[1:]):
        value = view.constant(source)
        if value is None or value.size != 1:
            return
        proto.graph.initializer.append(numpy_helper.from_array(np.repeat(value.reshape(1), channels), name))
    own = f"{output}_input"
    proto.graph.node.append(helper.make_node("DequantizeLinear", [shared.input[0], *names[:len(shared.input) - 1]],
                                             [own], f"{own}_DequantizeLinear", axis=1))
    if view.only_consumer(node.input[0]) is node:
        proto.graph.node.remove(shared)
    node.input[0] = own


def _before_quantization(name: str, view: GraphView) -> str:
    """The float tensor behind `name` when a Q/DQ pair makes it, else `name` itself."""
    restored = view.producer.get(name)
    if restored is None or restored.op_type != "DequantizeLinear" or restored.input[0] not in view.producer:
        return name
    return str(view.producer[restored.input[0]].input[0])
