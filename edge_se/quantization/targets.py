"""Targets as data: what the INT8 file for each runtime must look like, and why.

There is no single INT8 ONNX file: x86 wants unsigned activations and an int32 bias, TensorRT rejects both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge_se.core.errors import EdgeSeError, did_you_mean
from edge_se.graph.rewrites import OPSET

Activations = Literal["uint8", "int8", "int8-symmetric", "by-sign"]
"""How activations are stored: `uint8` and `int8` with a free zero point, `int8-symmetric` with zero point 0, `by-sign`:
symmetric int8 for tensors that go below zero, uint8 with zero point 0 for the others."""


def is_symmetric(activations: Activations, low: float) -> bool:
    """Whether a tensor whose least value is `low` has the zero point 0 in the middle of its type."""
    return activations == "int8-symmetric" or (activations == "by-sign" and low < 0)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Rules for one runtime; weights are always int8, symmetric, per output channel."""

    name: str
    runs_on: str
    activations: Activations
    quantized_bias: bool           # int32 bias behind a DequantizeLinear, else float
    quantized_outputs: bool        # Q/DQ behind operators too, else only in front of them
    quantized_residuals: bool = False  # Q/DQ on the residual input of each Add
    operators: tuple[str, ...]     # those whose data inputs are quantized
    reasons: tuple[str, ...]
    weight_bits: int = 8           # 7: weights within -64..64
    half_floats: bool = False      # what is not INT8 is FP16
    opset: int = OPSET


WEIGHTED = ("Conv", "Gemm", "MatMul")
KERNELS = (*WEIGHTED, "Add", "Mul", "Relu", "Clip", "Sigmoid", "HardSigmoid", "GlobalAveragePool", "AveragePool",
           "MaxPool", "Flatten", "Reshape", "Concat")
SYMMETRIC = "TensorRT takes symmetric int8 with zero point 0 only; its parser rejects an int32 bias behind " \
            "DequantizeLinear"
RESIDUAL = "Q/DQ on the residual input of each Add lets Conv + Add + ReLU fuse into one INT8 kernel; outputs stay " \
           "unquantized so that the fused kernel chooses its own output type"
TINY_GATES = "an SE gate in INT8 is a chain of tiny kernels with reformats between them"

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name="cpu", runs_on="onnxruntime on x86 with VNNI or AMX", activations="uint8", quantized_bias=True,
            quantized_outputs=True, operators=KERNELS,
            reasons=(
                "onnxruntime's VNNI kernels multiply uint8 activations by int8 weights; S8S8 and U8U8 are slower than "
                "FP32 there",
                "an int32 bias lets onnxruntime fuse Q/DQ into QLinearConv",
                "SE gates in float: as fast in onnxruntime, faster in OpenVINO, and 0.02 % of the MACs",
            )),
        Target(
            name="cpu-avx2", runs_on="onnxruntime on x86 without VNNI", activations="uint8", quantized_bias=True,
            quantized_outputs=True, operators=KERNELS, weight_bits=7,
            reasons=(
                "without VNNI two products of uint8 and int8 are added in 16 bits and saturate; 7-bit weights cannot",
                "otherwise as `cpu`",
            )),
        Target(
            name="arm", runs_on="onnxruntime on 64-bit Arm", activations="int8", quantized_bias=True,
            quantized_outputs=True, operators=KERNELS,
            reasons=(
                "onnxruntime's convolution kernels for Arm take signed activations and int8 weights with zero point 0 "
                "(SDOT; microsoft/onnxruntime#9772)",
                "the zero point of activations is free: after a ReLU all 256 levels are used",
            )),
        Target(
            name="openvino", runs_on="OpenVINO on x86", activations="by-sign", quantized_bias=True,
            quantized_outputs=False, operators=WEIGHTED,
            reasons=(
                "OpenVINO runs tensors that go below zero fastest as symmetric int8 (no zero point to subtract) and "
                "the others as uint8; onnxruntime has no kernels for the mixture",
                "only what a layer reads is quantized: OpenVINO fuses activations, SE scales and residual adds into "
                "the convolution before them, and Q/DQ between them would break that",
            )),
        Target(
            name="tensorrt", runs_on="TensorRT 8.5 to 11", activations="int8-symmetric", quantized_bias=False,
            quantized_outputs=False, quantized_residuals=True, operators=WEIGHTED,
            reasons=(SYMMETRIC, RESIDUAL, TINY_GATES)),
        Target(
            name="tensorrt-fp16", runs_on="TensorRT 10 and 11, strongly typed", activations="int8-symmetric",
            quantized_bias=False, quantized_outputs=False, quantized_residuals=True, operators=WEIGHTED,
            half_floats=True, opset=19,
            reasons=(
                SYMMETRIC, RESIDUAL, TINY_GATES,
                "strong typing takes every precision from the graph, so the floats around INT8 are FP16 in the file",
                "QuantizeLinear of FP16 exists from opset 19 on",
            )),
    )
}
EVERYWHERE = ("cpu", "tensorrt")


def target_of(name: str) -> Target:
    """A target by name; raises EdgeSeError with a suggestion."""
    if name not in TARGETS:
        raise EdgeSeError(f"unknown target '{name}'", where="--target", fix=did_you_mean(name, TARGETS))
    return TARGETS[name]


def targets_for(names: Sequence[str] | None, processor_flags: Sequence[str]) -> list[Target]:
    """The targets of `names`; `all` is every one, and None `cpu` and `tensorrt`.

    With None on an x86 processor whose `processor_flags` name AVX2 but neither VNNI nor AMX, `cpu-avx2` comes too:
    8-bit weights saturate on the very machine that asks.
    """
    if names is None:
        narrow = "avx2" in processor_flags and not {"avx512_vnni", "avx_vnni", "amx_int8"} & set(processor_flags)
        names = (*EVERYWHERE, "cpu-avx2") if narrow else EVERYWHERE
    if "all" in names:
        names = tuple(TARGETS)
    return [target_of(name) for name in dict.fromkeys(names)]
