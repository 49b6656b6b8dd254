"""Layer information and per-layer profiles of TensorRT engines, as trtexec and the engine inspector write them.

Layer information (`trtexec --exportLayerInfo`, IEngineInspector): {"Layers": [...], "Bindings": [...]}, from TensorRT
11 on "I/O Tensors" instead of "Bindings". A layer is an object where the engine was built with detailed profiling
verbosity, else a bare name. A tensor has "Format/Datatype", in TensorRT 11 two fields
(docs.nvidia.com/deeplearning/tensorrt/11.3.0/api/migration/tensorrt-10x-to-11x-IEngineInspector.html).
Profile (`trtexec --exportProfile`): [{"count": N}, {"name", "timeMs", "averageMs", "medianMs", "percentage"}, ...];
older versions without the median.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_se.core.errors import EdgeSeError
from edge_se.core.files import require_text

RECORD = "record it with `trtexec --profilingVerbosity=detailed --exportLayerInfo=FILE --exportProfile=FILE`"
SHORTEST_MS, LONGEST_MS = 1e-6, 1e6  # a nanosecond or less is no time, a quarter of an hour no layer
MOST_RUNS = 10**9
DATATYPES = {"int8": "int8", "uint8": "uint8", "int4": "int4", "int32": "int32", "int64": "int64", "bool": "bool",
             "fp8": "fp8", "float8": "fp8", "e4m3": "fp8", "e5m2": "fp8", "fp4": "fp4",
             "float4": "fp4", "e2m1": "fp4", "bf16": "bf16", "bfloat16": "bf16", "fp16": "fp16",
             "half": "fp16", "float16": "fp16", "fp32": "fp32", "float": "fp32", "float32": "fp32", "tf32": "fp32"}
FLOATS = ("fp16", "bf16", "fp32")
_DATATYPE = re.compile(rf"(?<![a-z0-9])({'|'.join(sorted(DATATYPES, key=len, reverse=True))})(?![a-z0-9])")
_NODE = re.compile(r"\[ONNX Layer: (.*?)\](?=[\x1e\x1f\s]|\[ONNX Layer: |$)")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")
_MADE = re.compile(r"\(Unnamed Layer\*|\w*(reshape|squeeze|shuffle)\w*_after_")  # by TensorRT, of no ONNX node
_COPY = re.compile(r"Reformatting CopyNode for (Input|Output) Tensor \d+ to |copied_")


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One input or output: `shape` has -1 where it is dynamic, `datatype` is a value of DATATYPES; None: not told."""

    name: str
    shape: tuple[int, ...] | None
    datatype: str | None
    format: str

    @property
    def pixels(self) -> int | None:
        """Height x width of (N, C, H, W); 1 for (N, C); None where unknown."""
        return None if self.shape is None or min(self.shape[2:], default=1) < 1 else math.prod(self.shape[2:])


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of an engine; what the files do not tell is None or empty.

    `milliseconds` is the mean of the profile; `nodes` are names of ONNX nodes, from the metadata, else the parts of
    the layer's name; `weights` is the datatype of its weights; `origin` tells of a reformat why it is there.
    """

    name: str
    type: str | None = None
    milliseconds: float | None = None
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    tactic: str | None = None
    weights: str | None = None
    origin: str | None = None
    nodes: tuple[str, ...] = ()

    @property
    def is_copy(self) -> bool:
        """Whether its name says that it copies a tensor for the layer that is named in it."""
        return _COPY.match(self.name) is not None


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Layers in order of execution with their times.

    `detailed`: datatypes and shapes are known. `untimed` layers are in the layer information alone, `unlisted` ones in
    the profile alone; the latter are part of `layers` as bare names. `runs` is the number of profiled runs, or None.
    """

    layers: tuple[Layer, ...]
    detailed: bool
    untimed: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    runs: int | None = None

    @property
    def milliseconds(self) -> float:
        """The sum over its layers."""
        return math.fsum(layer.milliseconds or 0.0 for layer in self.layers)


def read_engine(layers: Path | None, profile: Path) -> Engine:
    """The engine of two files; without the first its layers are bare names. EdgeSeError where one does not hold."""
    return engine_of(None if layers is None else _content(layers), _content(profile),
                     where_layers=str(layers), where_profile=str(profile))


def engine_of(layers: object, profile: object, *, where_layers: str = "layers",
              where_profile: str = "profile") -> Engine:
    """The same from JSON text or parsed JSON; `where_...` name the sources in errors. Without a profile no times.

    Names repeat from TensorRT 11 on: the n-th layer of a name gets the n-th time of that name.
    """
    times, runs = ([], None) if profile is None else _profile(_parsed(profile, where_profile), where_profile)
    listed = [] if layers is None else _layers(_parsed(layers, where_layers), where_layers)
    waiting = defaultdict[str, list[float]](list)
    for name, milliseconds in reversed(times):
        waiting[name].append(milliseconds)
    timed = [replace(layer, milliseconds=waiting[layer.name].pop()) if waiting[layer.name] else layer
             for layer in listed]
    if listed and times and all(layer.milliseconds is None for layer in timed):
        raise EdgeSeError(f"has none of the layers of {where_layers}", where=where_profile,
                          fix="give both files of one engine")
    unlisted = []
    for name, milliseconds in times:
        if waiting[name]:
            waiting[name].pop()
            unlisted.append(Layer(name=name, milliseconds=milliseconds, nodes=nodes_in(name)))
    return Engine(layers=(*timed, *unlisted), detailed=any(layer.inputs or layer.outputs for layer in listed),
                  untimed=tuple(layer.name for layer in timed if layer.milliseconds is None),
                  unlisted=tuple(layer.name for layer in unlisted) if listed else (), runs=runs)


def nodes_in(name: str) -> tuple[str, ...]:
    """The ONNX nodes that the name of a fused layer tells: `a + PWN(b, c) || d` gives a, b, c, d."""
    if _COPY.match(name):
        return ()
    parts = (part.replace("PWN(", "").strip() for part in re.split(r" \+ | \|\| |, ", name))
    unwrapped = (part.rstrip(")") if part.count(")") > part.count("(") else part for part in parts)
    return tuple(dict.fromkeys(part for part in unwrapped if part and not _MADE.match(part)))


def datatype_of(text: str) -> str | None:
    """`Thirty-two wide channel vectorized row major Int8 format` -> int8; None where the text names no datatype."""
    match = _DATATYPE.search(text.lower())
    return DATATYPES[match.group(1)] if match else None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise EdgeSeError("no such file", where=path, fix=RECORD) from error
    except OSError as error:
        raise EdgeSeError(f"cannot be read ({error.strerror or error})", where=path, fix=RECORD) from error


def _parsed(document: object, where: str) -> Any:
    if not isinstance(document, (str, bytes)):
        return document
    try:
        content = json.loads(document, strict=False)  # the separators of "Metadata" are control characters
        require_text(content)
    except (ValueError, RecursionError) as error:
        raise EdgeSeError(f"not readable as JSON ({error})", where=where, fix=RECORD) from error
    return content


def _layers(document: Any, where: str) -> list[Layer]:
    """The layers in {"Layers": [...]} or in a bare list."""
    listed = document.get("Layers") if isinstance(document, dict) else document
    if not isinstance(listed, list) or not listed:
        raise EdgeSeError("holds no list 'Layers' with a layer in it", where=where, fix=RECORD)
    if any(isinstance(entry, dict) and "averageMs" in entry for entry in listed[:2]):
        raise EdgeSeError("is a profile, not layer information", where=where, fix="give --layers the other file")
    return [_layer(entry, f"{where}: layer {number}") for number, entry in enumerate(listed, 1)]


def _layer(entry: Any, where: str) -> Layer:
    if isinstance(entry, str):
        name = _printable(entry)
        return Layer(name=name, nodes=nodes_in(name))
    if not isinstance(entry, dict):
        raise EdgeSeError(f"expected an object or a name, found {type(entry).__name__}", where=where, fix=RECORD)
    name = _text(entry, "Name", where)
    metadata = entry.get("Metadata")  # TensorRT 11 may write null or an object here
    nodes = _NODE.findall(metadata) if isinstance(metadata, str) else []
    weights = entry.get("Weights", entry.get("ConvWeights"))
    kind = weights.get("Type") if isinstance(weights, dict) else None
    return Layer(name=name, type=_text(entry, "LayerType", where, "") or None,
                 tactic=_text(entry, "TacticName", where, "") or None, inputs=_tensors(entry, "Inputs", where),
                 outputs=_tensors(entry, "Outputs", where),
                 weights=datatype_of(kind) if isinstance(kind, str) else None,
                 origin=_text(entry, "Origin", where, "") or None,
                 nodes=tuple(dict.fromkeys(_printable(node) for node in nodes)) or nodes_in(name))


def _tensors(entry: dict[str, Any], key: str, where: str) -> tuple[Tensor, ...]:
    listed = entry.get(key, [])
    if not isinstance(listed, list) or not all(isinstance(tensor, dict) for tensor in listed):
        raise EdgeSeError(f"'{key}' is no list of objects", where=where, fix=RECORD)
    return tuple(_tensor(tensor, f"{where}: {key}") for tensor in listed)


def _tensor(tensor: dict[str, Any], where: str) -> Tensor:
    shape = tensor.get("Dimensions")
    if shape is not None and not (isinstance(shape, list) and all(type(size) is int for size in shape)):
        raise EdgeSeError(f"'Dimensions' is {_shown(shape)}, not a list of integers", where=where, fix=RECORD)
    layout = _text(tensor, "Format/Datatype", where, "") or _text(tensor, "Format", where, "")
    separate = _text(tensor, "Datatype", where, "") or _text(tensor, "DataType", where, "")
    return Tensor(name=_text(tensor, "Name", where, ""), shape=None if shape is None else tuple(shape),
                  datatype=datatype_of(separate or layout), format=layout)


def _profile(document: Any, where: str) -> tuple[list[tuple[str, float]], int | None]:
    """(name, mean milliseconds) in order, and the number of runs where it is told."""
    if isinstance(document, dict) and "Layers" in document:
        raise EdgeSeError("is layer information, not a profile", where=where, fix="give --profile the other file")
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise EdgeSeError("expected a list of objects", where=where, fix=RECORD)
    runs, entries = None, document
    if document and "count" in document[0] and "name" not in document[0]:
        runs, entries = document[0]["count"], document[1:]
        if type(runs) is not int or not 1 <= runs <= MOST_RUNS:
            raise EdgeSeError(f"'count' is {_shown(runs)}, not a number of runs", where=where, fix=RECORD)
    if not entries:
        raise EdgeSeError("holds no layer", where=where, fix=RECORD)
    return [_time(entry, runs, f"{where}: layer {number}") for number, entry in enumerate(entries, 1)], runs


def _time(entry: dict[str, Any], runs: int | None, where: str) -> tuple[str, float]:
    name = _text(entry, "name", where)
    key, runs = ("averageMs", 1) if "averageMs" in entry or not runs else ("timeMs", runs)
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LONGEST_MS:
        raise EdgeSeError(f"'{key}' is {_shown(value)}, not a time in milliseconds", where=where, fix=RECORD)
    mean = float(value) / runs
    return name, mean if mean > SHORTEST_MS else 0.0


def _text(entry: dict[str, Any], key: str, where: str, default: str | None = None) -> str:
    """The value, or `default` where it is null: TensorRT 11 writes null for what it does not know."""
    value = entry.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or (default is None and not value):
        raise EdgeSeError(f"'{key}' is {'missing' if value is None else f'{_shown(value)}, not a text'}", where=where,
                          fix=RECORD)
    return _printable(value)


def _shown(value: object) -> str:
    return type(value).__name__ if isinstance(value, (dict, list)) else repr(value)[:60]


def _printable(text: str) -> str:
    """Without control characters and halves of surrogate pairs, which no terminal and no UTF-8 file takes."""
    return _UNPRINTABLE.sub(" ", text).encode("utf-8", "replace").decode("utf-8")
