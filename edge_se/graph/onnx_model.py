"""An ONNX file as a value: its bytes, what it is for, and which file it was made from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import uses_external_data

from edge_se.core.errors import ModelError
from edge_se.graph.metadata import ModelMetadata, read_metadata


@dataclass(frozen=True, kw_only=True)
class OnnxModel:
    """`target` is `any` for files that every runtime runs well, else the name of its target."""

    content: bytes
    precision: str = "fp32"
    target: str = "any"
    parent_sha256: str | None = None

    @classmethod
    def of(cls, proto: onnx.ModelProto, *, precision: str = "fp32", target: str = "any",
           parent: OnnxModel | None = None) -> OnnxModel:
        """The model of `proto`, serialized so that equal graphs give equal bytes."""
        return cls(content=proto.SerializeToString(deterministic=True), precision=precision, target=target,
                   parent_sha256=parent.sha256 if parent else None)

    @classmethod
    def read(cls, path: Path, *, precision: str = "fp32", target: str = "any",
             parent_sha256: str | None = None) -> OnnxModel:
        """The model in a file; ModelError when it is missing or not ONNX."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"cannot be read ({error.strerror or error})", where=path,
                             fix="give an .onnx file; `export` also takes a name of `edge-se models list`") from error
        try:
            proto = onnx.load_from_string(content)
            if not proto.graph.node:
                raise DecodeError("it has no nodes")
        except DecodeError as error:
            raise ModelError(f"not readable as ONNX ({error})", where=path, fix="export it again") from error
        if any(uses_external_data(tensor) for tensor in proto.graph.initializer):
            content = _with_weights(proto, path)
        return cls(content=content, precision=precision, target=target, parent_sha256=parent_sha256)

    @property
    def file_name(self) -> str:
        """`fp32.onnx`, `int8.cpu.onnx`, ..."""
        return f"{self.precision}.onnx" if self.target == "any" else f"{self.precision}.{self.target}.onnx"

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the file."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def proto(self) -> onnx.ModelProto:
        """The parsed graph. Treat it as read-only; change a `copy()`."""
        return onnx.load_from_string(self.content)

    def copy(self) -> onnx.ModelProto:
        """A fresh graph that may be changed."""
        return onnx.load_from_string(self.content)

    @cached_property
    def metadata(self) -> ModelMetadata | None:
        """What edge-se wrote into the file, or None for one from elsewhere."""
        return read_metadata(self.proto)

    @cached_property
    def opset(self) -> int:
        """The version of ONNX's own operators; 1 where the file names none."""
        return opset_of(self.proto)

    @cached_property
    def input_name(self) -> str:
        """The name of the one image input."""
        return image_input(self.proto).name

    @cached_property
    def input_dtype(self) -> str:
        """float32 or uint8."""
        kind = image_input(self.proto).type.tensor_type.elem_type
        return "uint8" if kind == onnx.TensorProto.UINT8 else "float32"

    @property
    def axes(self) -> str:
        """The order of the input's axes, NCHW or NHWC: the first where nothing is told of it."""
        return self.metadata.preprocessing.axes if self.metadata else "NCHW"

    @cached_property
    def input_shape(self) -> tuple[int | None, ...]:
        """(batch, channels, height, width), or with the channels last; None where dynamic."""
        dims = image_input(self.proto).type.tensor_type.shape.dim
        return tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims)


def _with_weights(proto: onnx.ModelProto, path: Path) -> bytes:
    """The graph with the weights that lie in files beside it, as torch's exporter writes them by default."""
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"its weights lie in a file beside it that cannot be read ({error})", where=path,
                         fix="keep both files together, or export with external_data=False") from error
    return bytes(proto.SerializeToString(deterministic=True))


def opset_of(proto: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that a graph uses; 1 where it names none."""
    return next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 1)


def image_input(proto: onnx.ModelProto, path: Path | None = None) -> onnx.ValueInfoProto:
    """The one input of a graph, constants aside; ModelError unless it is one batch of images, float32 or uint8.

    `path` is the file that errors name.
    """
    constants = {initializer.name for initializer in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in constants]
    if len(inputs) != 1:
        named = ", ".join(f"'{value.name}'" for value in inputs)
        raise ModelError(f"has {len(inputs)} inputs{f' ({named})' * bool(inputs)}; an image classifier has one",
                         where=path or proto.graph.name or "graph", fix="export the classifier alone")
    image: onnx.ValueInfoProto = inputs[0]
    tensor = image.type.tensor_type
    if tensor.elem_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8) or len(tensor.shape.dim) != 4:
        raise ModelError("must be float32 or uint8 of shape (batch, channels, height, width) or (batch, height, width, "
                         "channels)", where=f"{f'{path}: ' if path else ''}input '{image.name}'",
                         fix="export with such an image input")
    return image
