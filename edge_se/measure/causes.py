"""What the time of each layer of a TensorRT engine goes into.

Decided in this order, on what the layer information tells, else on the layer's name:

- reformat: copies, changes of layout and casts ("Reformatting CopyNode", types Reformat and NoOp unless they quantize);
- quantize: QuantizeLinear, DequantizeLinear and scale layers that run as kernels of their own;
- se-gate: the squeeze, the layers that compute the excitation and the scale. By the flow of tensors: a layer that is no
  convolution combines a 1 x 1 tensor with a larger one, and all that leads to the former is 1 x 1 back to the layer
  that reduced a larger tensor. By name where shapes are unknown. A pointwise kernel with the scale in it counts whole,
  a convolution with the pool or the scale in it does not;
- block: what another compiler made of several layers, and what waits for it: the DLA, and ForeignNodes. The files tell
  nothing of the precision inside;
- int8-compute, fp8-compute, float-compute, compute: convolutions and matrix products in INT8, in FP8 or FP4, in FP32,
  FP16 or BF16, and in a type that the files do not tell;
- pointwise: residual adds, activations and other element-wise kernels that no convolution took in;
- other: pools outside excitations, shuffles, constants and the rest.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from edge_se.measure.layers import FLOATS, Engine, Layer

REFORMAT, QUANTIZE, EXCITATION, POINTWISE, OTHER = "reformat", "quantize", "se-gate", "pointwise", "other"
INT8, FP8, FLOAT, COMPUTE, BLOCK = "int8-compute", "fp8-compute", "float-compute", "compute", "block"
CAUSES = {INT8: "INT8 compute", FP8: "FP8 and FP4 compute", FLOAT: "float compute",
          COMPUTE: "compute of unknown precision", BLOCK: "compiled block / DLA",
          REFORMAT: "reformats, copies, casts", QUANTIZE: "quantize, dequantize, scale", EXCITATION: "excitations",
          POINTWISE: "unfused adds and activations", OTHER: "other"}
# Types of layers in TensorRT 8.5 to 11; kgen, fusion and gemm come from its compiler.
_COPIES = re.compile(r"reformat|noop|copy|^cast$|memcpy", re.IGNORECASE)
_SCALES = re.compile(r"^(scale|quantize|dequantize)$", re.IGNORECASE)
_WEIGHTED = re.compile(r"conv(?!ert)|gemm|matmul|matrixmultiply|fullyconnected", re.IGNORECASE)
_POINTWISE = re.compile(r"pointwise|elementwise|^(activation|unary)$", re.IGNORECASE)
_MOVES = re.compile(r"^__myl_(Move|Tran|Resh|Cast|Copy)+_")  # the compiler names a kernel by its operations
_PRODUCTS = re.compile(r"xmma|gemm|fprop|cudnn|cutlass", re.IGNORECASE)
_INT8_TACTIC = re.compile(r"i8i8|i8f32|i8f16|int8|imma|i8816|i16832", re.IGNORECASE)
_SMALL_FLOATS = ("fp8", "fp4")
_SMALL_TACTIC = {"fp8": re.compile(r"e4m3|e5m2|fp8|f8f8", re.IGNORECASE), "fp4": re.compile(r"e2m1|fp4", re.IGNORECASE)}
# The DLA's part of an engine is a ForeignNode; what lies before and after it waits, most of all "... from nvm".
_BLOCK = re.compile(r"\{?ForeignNode\[")
_BLOCK_KIND = re.compile(r"^(dla|foreignnode)", re.IGNORECASE)
_DLA_WAIT = re.compile(r" (?:to|from) nvm$")
_FLOAT_TACTIC = re.compile(r"f16f16|f32f32|bf16|hmma|tf32|h884|h1688|scudnn|sgemm|hgemm", re.IGNORECASE)
# Names of ONNX nodes: the exporters of PyTorch, old and new, and ours.
_QDQ = re.compile(r"(Quantize|Dequantize)Linear", re.IGNORECASE)
_CAST = re.compile(r"(^|[/_.])cast(_?\d+)?$", re.IGNORECASE)
_LAYER_NODE = re.compile(r"(^|[/_.])(Conv|ConvTranspose|Gemm|MatMul|linear|conv2d)(_\d+)?$")
_POINTWISE_NODE = re.compile(r"(^|[/_.])(add|sub|mul|div|relu|clip|sigmoid|hardsigmoid|hardswish|leakyrelu|tanh|erf|"
                             r"sqrt|pow|batchnormalization)(_\d+)*$", re.IGNORECASE)
_PARAMETER = re.compile(r"\.(weight|bias|running_mean|running_var)(_\w+)?$")
_EXCITATION = re.compile(r"(^|[./_])(se|squeeze_excite|se_module|se_block|fc_se)([./_]|$)")
_OUR_EXCITATION = re.compile(r"^node_(mean|sigmoid|mul)(_\d+)?$")
_OUR_SQUEEZE = re.compile(r"^node_mean(_\d+)?$")


def operators(layer: Layer) -> list[str]:
    """Its ONNX nodes without Q/DQ, parameters and what TensorRT added."""
    return [node for node in layer.nodes if not _QDQ.search(node) and not _PARAMETER.search(node)]


def causes_of(engine: Engine) -> list[str]:
    """One cause of CAUSES for each layer."""
    inside = _excitations(engine.layers)
    named = _named_excitations(engine.layers)
    causes = []
    on_dla = any(_DLA_WAIT.search(layer.name) for layer in engine.layers)
    for number, layer in enumerate(engine.layers):
        cause = BLOCK if _is_block(layer, on_dla) else _cause(layer)
        bare = not (layer.inputs or layer.outputs)
        if cause not in (REFORMAT, QUANTIZE, BLOCK) and (
                number in inside or (bare and not named.isdisjoint(layer.nodes))):
            cause = EXCITATION
        causes.append(cause)
    return causes


def _cause(layer: Layer) -> str:
    kind, nodes = layer.type or "", operators(layer)
    only_qdq = not nodes and any(_QDQ.search(node) for node in layer.nodes)
    if _COPIES.search(kind) or layer.is_copy or layer.name.endswith(" copy"):
        return QUANTIZE if layer.origin == "QDQ" or (only_qdq and not layer.is_copy) else REFORMAT
    if _is_weighted(layer):
        precision = precision_of(layer)
        return COMPUTE if precision is None else INT8 if precision == "int8" else (
            FP8 if precision in _SMALL_FLOATS else FLOAT)
    if _SCALES.match(kind) or only_qdq:
        return QUANTIZE
    if _MOVES.match(layer.name) or (nodes and all(_CAST.search(node) for node in nodes)):
        return REFORMAT
    if _POINTWISE.search(kind) or layer.name.startswith("PWN("):
        return POINTWISE
    return POINTWISE if nodes and all(_POINTWISE_NODE.search(node) for node in nodes) else OTHER


def _is_block(layer: Layer, on_dla: bool) -> bool:
    """Whether it is a block of layers, or a copy to, from or behind the DLA; copies for a block are reformats."""
    if layer.is_copy:
        return False
    return bool(_BLOCK.match(layer.name) or _BLOCK_KIND.match(layer.type or "") or _DLA_WAIT.search(layer.name)
                or (on_dla and layer.name.endswith(" copy finish")))


def _is_weighted(layer: Layer) -> bool:
    if layer.type is None:
        return any(_LAYER_NODE.search(node) for node in layer.nodes)
    return layer.weights is not None or bool(_WEIGHTED.search(layer.type)) or bool(
        layer.type == "fusion" and _PRODUCTS.search(layer.tactic or ""))


def precision_of(layer: Layer) -> str | None:
    """The datatype of its products: that of its weights, else by its kernel's name, its inputs, or Q/DQ in its name."""
    if layer.weights is not None:
        return layer.weights
    read = _read(layer)
    if layer.tactic is not None:
        if _INT8_TACTIC.search(layer.tactic):
            return "int8"
        for name, kernel in _SMALL_TACTIC.items():
            if kernel.search(layer.tactic):
                return name
        if _FLOAT_TACTIC.search(layer.tactic):
            return read if read in FLOATS else "fp16"
    if read is not None:
        return read
    return "int8" if layer.type is None and any(_QDQ.search(node) for node in layer.nodes) else None


def _read(layer: Layer) -> str | None:
    """The datatype of its inputs: the widest float if any input is a float, else int8, else None."""
    read = [tensor.datatype for tensor in layer.inputs]
    return next((datatype for datatype in (*FLOATS, *_SMALL_FLOATS, "int8") if datatype in read), None)


def _named_excitations(layers: Iterable[Layer]) -> set[str]:
    """Nodes of excitations by name. Names of our own export are too plain to tell without a squeeze among them.

    The mean of the head is a pool, called `..._pool`, and a Flatten.
    """
    nodes = {node for layer in layers for node in layer.nodes}
    ours = {node for node in nodes if _OUR_EXCITATION.match(node) and f"{node}_pool" not in nodes}
    marked = {node for node in nodes if _EXCITATION.search(node)}
    return marked | ours if any(_OUR_SQUEEZE.match(node) for node in ours) else marked


def _excitations(layers: Iterable[Layer]) -> set[int]:
    """Positions of the layers of excitations, by the flow of tensors."""
    listed = list(layers)
    writers = defaultdict[str, list[int]](list)
    for number, layer in enumerate(listed):
        for tensor in layer.outputs:
            writers[tensor.name].append(number)
    members = set[int]()
    for number, layer in enumerate(listed):
        small = [tensor.name for tensor in layer.inputs if tensor.pixels == 1]
        large = any((tensor.pixels or 1) > 1 for tensor in layer.inputs)
        if not small or not large or _is_weighted(layer) or not any((out.pixels or 1) > 1 for out in layer.outputs):
            continue
        chain = _back_to_squeeze(small, listed, writers)
        if chain:
            members |= {number, *chain}
    return members


def _back_to_squeeze(names: list[str], layers: list[Layer], writers: dict[str, list[int]]) -> set[int]:
    """What computes the 1 x 1 tensors `names`; empty when no layer reduces a larger tensor to them."""
    pending, seen, squeezed = list(names), set[int](), False
    chain = set[int]()
    while pending:
        for number in writers.get(pending.pop(), []):
            if number in seen:
                continue
            seen.add(number)
            layer = layers[number]
            if all(tensor.pixels == 1 for tensor in layer.inputs):
                pending.extend(tensor.name for tensor in layer.inputs)
                chain.add(number)
            else:
                squeezed = True
                if not _is_weighted(layer):
                    chain.add(number)
    return chain if squeezed else set()


@dataclass(frozen=True, kw_only=True)
class CauseTime:
    """Milliseconds of all layers of one cause, their share of the kernel time, and the number that take time."""

    cause: str
    milliseconds: float
    share: float
    count: int


@dataclass(frozen=True, kw_only=True)
class LayerTime:
    """One layer; `reads` and `writes` are datatypes, `at_end`: an input or output of the engine is among them."""

    name: str
    type: str | None
    cause: str
    milliseconds: float
    share: float
    reads: str | None
    writes: str | None
    computes: str | None
    at_end: bool


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """An engine's kernel time by cause and by layer, the longest first; layers without time are left out."""

    engine: Engine
    milliseconds: float
    causes: tuple[CauseTime, ...]
    layers: tuple[LayerTime, ...]

    def of(self, *causes: str) -> float:
        """Milliseconds of some causes."""
        return math.fsum(item.milliseconds for item in self.causes if item.cause in causes)

    def share(self, *causes: str) -> float:
        """Their share of the kernel time."""
        return self.of(*causes) / self.milliseconds


def break_down(engine: Engine) -> Breakdown:
    """The time of an engine that takes any."""
    written = {tensor.name for layer in engine.layers for tensor in layer.outputs}
    read = {tensor.name for layer in engine.layers for tensor in layer.inputs}
    total, layers = engine.milliseconds, []
    for layer, cause in zip(engine.layers, causes_of(engine)):
        if not layer.milliseconds:
            continue
        at_end = any(tensor.name not in written for tensor in layer.inputs) or any(
            tensor.name not in read for tensor in layer.outputs)
        reads, writes = (" + ".join(dict.fromkeys(tensor.datatype for tensor in tensors if tensor.datatype)) or None
                         for tensors in (layer.inputs, layer.outputs))
        layers.append(LayerTime(
            name=layer.name, type=layer.type, cause=cause, milliseconds=layer.milliseconds, at_end=at_end,
            share=layer.milliseconds / total, reads=reads, writes=writes,
            computes=precision_of(layer) if cause != BLOCK and _is_weighted(layer) else None))
    sums = []
    for cause in CAUSES:
        times = [item.milliseconds for item in layers if item.cause == cause]
        if times:
            spent = math.fsum(times)
            sums.append(CauseTime(cause=cause, milliseconds=spent, share=spent / total, count=len(times)))
    return Breakdown(engine=engine, milliseconds=total,
                     causes=tuple(sorted(sums, key=lambda item: -item.milliseconds)),
                     layers=tuple(sorted(layers, key=lambda item: -item.milliseconds)))
