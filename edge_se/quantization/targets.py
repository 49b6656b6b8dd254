"""Targets as data: what the INT8 file for each runtime must look like, and why.

There is no single INT8 ONNX file: x86 wants unsigned activations and an int32 bias, TensorRT rejects both.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_se.core.errors import EdgeSeError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Target:
    """Rules for one runtime; weights are always int8, symmetric, per output channel."""

    name: str
    runs_on: str
    signed_activations: bool       # int8 with zero point 0, else uint8 with a free zero point
    quantized_bias: bool           # int32 bias behind a DequantizeLinear, else float
    quantized_outputs: bool        # Q/DQ behind operators too, else only in front of them
    operators: tuple[str, ...]     # those whose data inputs are quantized
    default_placement: str
    reasons: tuple[str, ...]


WEIGHTED = ("Conv", "Gemm", "MatMul")

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name="cpu", runs_on="onnxruntime and OpenVINO on x86 with VNNI",
            signed_activations=False, quantized_bias=True, quantized_outputs=True,
            operators=(*WEIGHTED, "Add", "Mul", "Relu", "Clip", "Sigmoid", "HardSigmoid", "GlobalAveragePool",
                       "AveragePool", "MaxPool", "Flatten", "Reshape", "Concat"),
            default_placement="se-float",
            reasons=(
                "onnxruntime runs only uint8 activations x int8 weights on the VNNI kernels; S8S8 and U8U8 are "
                "slower than FP32",
                "int32 bias lets onnxruntime fuse Q/DQ into QLinearConv",
                "SE gates in float: as fast in onnxruntime, faster in OpenVINO, and they are 0.02 % of the MACs",
            )),
        Target(
            name="tensorrt", runs_on="TensorRT 8.5 to 11",
            signed_activations=True, quantized_bias=False, quantized_outputs=False,
            operators=WEIGHTED, default_placement="se-float",
            reasons=(
                "TensorRT takes symmetric int8 with zero point 0 only",
                "its parser rejects an int32 bias behind DequantizeLinear",
                "Q/DQ on the residual input of each Add lets Conv + Add + ReLU fuse into one INT8 kernel; outputs "
                "stay unquantized so that the fused kernel chooses its own output type",
                "an SE gate in INT8 is a chain of tiny kernels with reformats between them",
            )),
    )
}


def target_of(name: str) -> Target:
    """A target by name; raises EdgeSeError with a suggestion."""
    if name not in TARGETS:
        raise EdgeSeError(f"unknown target '{name}'", where="--target", fix=did_you_mean(name, TARGETS))
    return TARGETS[name]
