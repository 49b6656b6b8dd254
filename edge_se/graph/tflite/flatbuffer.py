"""A `.tflite` file while it is written: tensors, operators and what is told beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.environment import importable
from edge_se.core.errors import UnavailableError

ALIGNMENT = 16  # bytes; the schema asks for it, flatbuffers' Python leaves it out, and kernels on small cores need it
INSTALL = "pip install 'edge-se[litert]'"
IDENTIFIER = b"TFL3"
SIGNATURE = "serving_default"  # what LiteRT's own converters call it


def missing() -> str | None:
    """Why no `.tflite` file is written or run here; None when ai-edge-litert is installed."""
    if importable("ai_edge_litert"):
        return None
    return "ai-edge-litert, which writes and runs .tflite files, is not installed"


def schema() -> Any:
    """LiteRT's own module of classes for every table of the format; UnavailableError where it is not installed."""
    if reason := missing():
        raise UnavailableError(reason, fix=INSTALL)
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def is_tflite(content: bytes) -> bool:
    """Whether these are the bytes of a `.tflite` file."""
    return content[4:8] == IDENTIFIER


def tflite_name(file_name: str) -> str:
    """`int8.litert.tflite` of `int8.litert.onnx`."""
    return f"{file_name.removesuffix('.onnx')}.tflite"


@dataclass(frozen=True, kw_only=True)
class Steps:
    """How integers stand for numbers: (integer - zero point) x scale; one scale, or one for each index of `axis`."""

    scales: tuple[float, ...]
    zero_point: int = 0
    axis: int = 0


class Flatbuffer:
    """One graph. `dynamic` says whether the first axis of what is computed is a batch of any size."""

    def __init__(self, dynamic: bool) -> None:
        self._schema, self._dynamic = schema(), dynamic
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: dict[tuple[int, int], int] = {}
        self._buffers: list[Any] = [self._schema.BufferT()]  # the first one is empty: of all that is computed
        self._constants: dict[tuple[str, tuple[int, ...], bytes], int] = {}

    def constant(self, values: NDArray[Any], name: str, steps: Steps | None = None) -> int:
        """The number of a constant tensor; one without `steps` that is there already is used again."""
        key = str(values.dtype), values.shape, values.tobytes()
        if steps is None and key in self._constants:
            return self._constants[key]
        buffer = self._buffer(np.frombuffer(values.tobytes(), np.uint8))
        made = self._tensor(values.shape, str(values.dtype), name, steps, buffer)
        if steps is None:
            self._constants[key] = made
        return made

    def computed(self, shape: Sequence[int], kind: str, name: str, steps: Steps | None = None) -> int:
        """The number of a tensor of `shape` for a batch of 1, its first axis the batch, of the numpy type `kind`."""
        signature = [-1, *shape[1:]] if self._dynamic and len(shape) else None
        return self._tensor(shape, kind, name, steps, 0, signature)

    def operator(self, name: str, version: int, inputs: Sequence[int], output: int, **options: Any) -> None:
        """Appends the builtin operator `name` (CONV_2D, ...) of the version that its types need.

        `options` are those of its table, whose name is `table`.
        """
        table = options.pop("table", None)
        made = self._schema.OperatorT(opcodeIndex=self._code(name, version), inputs=list(inputs), outputs=[output])
        if table is not None:
            made.builtinOptionsType = getattr(self._schema.BuiltinOptions, table)
            made.builtinOptions = getattr(self._schema, f"{table}T")(**options)
        self._operators.append(made)

    def finished(self, *, name: str, image: int, logits: int, beside: Mapping[str, bytes]) -> bytes:
        """The file; `beside` is its metadata by name."""
        told = [self._schema.MetadataT(name=key, buffer=self._number(self._buffer(np.frombuffer(value, np.uint8))))
                for key, value in sorted(beside.items())]
        ends = {kind: [self._schema.TensorMapT(name=called, tensorIndex=tensor)]
                for kind, called, tensor in (("inputs", "images", image), ("outputs", "logits", logits))}
        graph = self._schema.SubGraphT(name=name, tensors=self._tensors, operators=self._operators, inputs=[image],
                                       outputs=[logits])
        codes = [self._schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=min(code, 127), version=version)
                 for code, version in self._codes]
        model = self._schema.ModelT(
            version=3, operatorCodes=codes, subgraphs=[graph], buffers=self._buffers, description="edge-se",
            metadata=told, signatureDefs=[self._schema.SignatureDefT(signatureKey=SIGNATURE, **ends)])
        return _packed(model)

    def _tensor(self, shape: Sequence[int], kind: str, name: str, steps: Steps | None, buffer: Any,
                signature: list[int] | None = None) -> int:
        quantization = steps and self._schema.QuantizationParametersT(
            scale=list(steps.scales), zeroPoint=[steps.zero_point] * len(steps.scales), quantizedDimension=steps.axis)
        self._tensors.append(self._schema.TensorT(
            shape=list(shape), type=getattr(self._schema.TensorType, kind.upper()), name=name, hasRank=True,
            buffer=self._number(buffer) if buffer else 0, quantization=quantization, shapeSignature=signature))
        return len(self._tensors) - 1

    def _buffer(self, content: NDArray[np.uint8]) -> Any:
        return self._schema.BufferT(data=content)

    def _number(self, buffer: Any) -> int:
        self._buffers.append(buffer)
        return len(self._buffers) - 1

    def _code(self, name: str, version: int) -> int:
        key = getattr(self._schema.BuiltinOperator, name), version
        return self._codes.setdefault(key, len(self._codes))


def _packed(model: Any) -> bytes:
    import flatbuffers

    class Aligned(flatbuffers.Builder):  # type: ignore[misc]
        def CreateNumpyVector(self, x: NDArray[np.uint8]) -> int:  # noqa: N802 - the content of a buffer
            self.StartVector(1, x.size, ALIGNMENT)
            self.head -= x.size
            self.Bytes[self.head : self.head + x.size] = x.tobytes()
            self.vectorNumElems = x.size
            return int(self.EndVector())

    builder = Aligned(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())
