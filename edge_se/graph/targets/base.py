"""What a target is. To add one: a file beside this one with a `TARGET`; `table.py` finds it.

There is no single INT8 ONNX file: x86 wants unsigned activations and an int32 bias, TensorRT rejects both. Nothing
heavy is imported here, since completion in a shell reads these tables too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

OPSET = 17  # of what edge-se exports, where that has a form for it: the newest that TensorRT 8.5 and 8.6 read
Activations = Literal["uint8", "int8", "int8-symmetric", "by-sign", "dynamic"]
"""How activations are stored: `uint8` and `int8` with a free zero point, `int8-symmetric` with zero point 0, `by-sign`:
symmetric int8 for tensors that go below zero, uint8 with zero point 0 for the others, uint8 with a free zero point for
those that a Concat makes, `dynamic`: in float, of which layers make 8 bits as they run, in the range of each image."""

X86, ARM = ("x86_64", "amd64", "i386", "i686"), ("aarch64", "arm")  # beginnings of `platform.machine()`
FAST_X86 = ("avx512_vnni", "avx_vnni", "amx_int8")  # these add products of 8 bits in 32

WEIGHTED = ("Conv", "Gemm", "MatMul")
KERNELS = (*WEIGHTED, "Add", "Mul", "Relu", "Clip", "Sigmoid", "HardSigmoid", "GlobalAveragePool", "AveragePool",
           "MaxPool", "Flatten", "Reshape", "Concat")


def is_symmetric(activations: Activations, low: float) -> bool:
    """Whether a tensor whose least value is `low` has the zero point 0 in the middle of its type."""
    return activations == "int8-symmetric" or (activations == "by-sign" and low < 0)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Rules for one form of file; weights are always int8, symmetric, per output channel.

    `rules` say what runs it; `edge_se.device.agent.fits` reads them and explains each key. `oldest` names the runtimes
    whose version matters and the oldest one that is promised. `order` sorts lists. Of several files that run on a
    device, the one of the largest `preference` is taken.
    """

    name: str
    runs_on: str
    activations: Activations
    quantized_bias: bool           # int32 bias behind a DequantizeLinear, else float
    quantized_outputs: bool        # Q/DQ behind operators too, else only in front of them
    quantized_residuals: bool = False  # Q/DQ on the residual input of each Add
    operators: tuple[str, ...]     # those whose data inputs are quantized
    reasons: tuple[str, ...]
    rules: tuple[Mapping[str, Any], ...]
    oldest: Mapping[str, str] = field(default_factory=dict)
    weight_bits: int = 8           # 7: weights within -64..64
    half_floats: bool = False      # what is not INT8 is FP16
    litert: bool = False           # a .tflite file is made of its ONNX file, and read in its place
    narrow_group: int = 0          # groups of at most so many channels stay float; depthwise: with more outputs
    narrow_swishes: bool = False   # narrow layers beside a hard swish stay float (edge_se.quantization.swishes)
    depthwise: bool = True         # depthwise convolutions are quantized
    opset: int = OPSET
    judged_in: str = "onnxruntime"  # what computes the accuracy of its files on this machine
    simulated: bool = False        # that is not the runtime that serves them
    order: int = 100
    preference: int = 0

    @property
    def calibrated(self) -> bool:
        """Whether the ranges of activations come from images and are in the file."""
        return self.activations != "dynamic"

    def runs_in(self, runtime: str, version: str | None = None, *, machine: str | None = None,
                flags: Iterable[str] = (), opset: int | None = None) -> str | None:
        """Why `runtime` must not be given this target's files, or None when it runs them.

        `machine` is what `platform.machine()` says there, `flags` are those of its processor, `opset` is the file's.
        A condition that is not given refuses nothing.
        """
        from edge_se.device.agent.fits import unfit  # the agent imports numpy

        return unfit(self.name, self.rules, runtime, version=version, machine=machine, flags=flags, opset=opset)

    def is_for(self, runtime: str) -> bool:
        """Whether there is any version and any processor with which `runtime` runs it."""
        return any(rule["runtime"] == runtime and rule["reason"] is None for rule in self.rules)
