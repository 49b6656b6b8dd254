"""An ONNX graph as LiteRT's: channels last, and integer operators where Q/DQ stands on all sides of one.

LiteRT has no Q/DQ simulation: an operator's tensors are int8 or float. One whose data come from DequantizeLinear and
whose result goes to QuantizeLinear alone becomes the integer operator, the activation between them its own; whatever
else reads or makes int8 gets a QUANTIZE or DEQUANTIZE. So the file says what the Q/DQ graph says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_se.core.errors import ModelError
from edge_se.graph.counting import shapes_of
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.tflite.flatbuffer import Flatbuffer, Steps
from edge_se.graph.tflite.reading import Reading
from edge_se.graph.view import attribute, node_label

METADATA = "edge_se"  # of a .tflite file: JSON of what the ONNX file says of itself
FIX = "leave out --target litert and litert-dynamic; the other targets take the graph as it is"
Order = tuple[int, ...]
LARGEST_FACTOR = 256  # from sums of products to what a layer makes; XNNPACK loads no file in which one reaches it
LAST: Order = (0, 2, 3, 1)  # how images and feature maps lie in LiteRT: axis 1 of the graph at the end


@dataclass(frozen=True, kw_only=True)
class Value:
    """A tensor of the file: the graph's tensor of `shape` with its axes in `order`, in int8 where it has `steps`."""

    tensor: int
    shape: tuple[int, ...]
    order: Order
    steps: Steps | None = None

    @property
    def stored(self) -> tuple[int, ...]:
        """Its shape in the file."""
        return tuple(self.shape[axis] for axis in self.order)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What an operator makes: the graph's tensor behind the activation that it carries, quantized or float."""

    name: str
    activation: str                          # NONE, RELU or RELU6
    quantizers: tuple[onnx.NodeProto, ...]   # empty: float
    steps: Steps | None


class Translation:
    """The graph of one file while it is written, node after node."""

    def __init__(self, model: OnnxModel) -> None:
        self.reading, self.shapes = Reading(model.proto), shapes_of(model.proto)
        self.flat = Flatbuffer(dynamic=model.input_shape[0] is None)
        self._floats: dict[str, Value] = {}
        self._integers: dict[str, Value] = {}  # by the output of the QuantizeLinear
        self._fused: set[str] = set()
        shape = tuple(self.shapes[model.input_name])
        order = LAST if model.axes == "NCHW" else (0, 1, 2, 3)
        self._image = self.add(model.input_name, shape, order, kind=model.input_dtype)
        self._floats[model.input_name] = self._image

    def content(self, model: OnnxModel, operators: Mapping[str, Writer]) -> bytes:
        """The file of the whole graph, each node by its one of `operators`; ModelError at the first that has none."""
        graph = self.reading.view.graph
        for node in graph.node:
            if node.output[0] in self._fused or node.op_type in ("Constant", "DequantizeLinear",
                                                                 "DynamicQuantizeLinear"):
                continue
            if node.op_type == "QuantizeLinear":
                self._quantize(node)
            elif node.op_type in operators:
                operators[node.op_type](self, node)
            else:
                raise ModelError("LiteRT's files are written without this operator", where=node_label(node), fix=FIX)
        logits = self.float_value(graph.output[0].name)
        logits = self.ordered(logits, plain(logits.shape))  # a graph that is cut off ends in features
        told = {entry.key: entry.value for entry in model.proto.metadata_props} | {"onnx_sha256": model.sha256}
        return self.flat.finished(name=graph.name, image=self._image.tensor, logits=logits.tensor,
                                  beside={METADATA: json.dumps(told, sort_keys=True).encode()})

    def ending(self, node: onnx.NodeProto, *, carries: bool = False, same_steps: bool = False,
               integer: bool = True, scales: NDArray[np.float32] | None = None,
               output: str | None = None) -> Ending:
        """How `node` ends in `output` (None: its first). One that `carries` activations takes in the ReLU that alone
        reads it.

        It is an integer operator when `integer` allows it, all data are int8 and all readers want int8; with
        `same_steps` the scale must not change on the way, and with `scales` of weights not by LARGEST_FACTOR.
        """
        name, activation = output or node.output[0], "NONE"
        reader = self.reading.view.only_consumer(name)
        if carries and reader is not None and (kind := self.activation_of(reader)):
            name, activation = reader.output[0], kind
            self._fused.add(name)
        data = [one for one in node.input if one and not self.reading.is_constant(one)]
        before = [known for one in data if (known := self._steps_before(one)) is not None]
        quantizers = self.reading.quantized(name) if integer and len(before) == len(data) else []
        steps = self.reading.steps(quantizers[0]) if quantizers else None
        if steps is not None and (
                (same_steps and any(known != steps for known in before))
                or (scales is not None and before[0].scales[0] * scales.max() >= LARGEST_FACTOR * steps.scales[0])):
            quantizers, steps = [], None
        return Ending(name=name, activation=activation, quantizers=tuple(quantizers), steps=steps)

    def _steps_before(self, name: str) -> Steps | None:
        """Those of the int8 tensor of the file that `name` is the DequantizeLinear of; None where it is no such one."""
        maker = self.reading.restored(name)
        known = self._integers.get(maker.input[0]) if maker is not None else None
        return None if known is None else known.steps

    def activation_of(self, node: onnx.NodeProto) -> str | None:
        """RELU or RELU6 where `node` is that; None for every other node."""
        if node.op_type == "Clip":
            low, high = (self.reading.view.constant(name) if name else None for name in [*node.input[1:], "", ""][:2])
            if low is not None and low.item() == 0.0 and (high is None or high.item() == 6.0):
                return "RELU" if high is None else "RELU6"
        return "RELU" if node.op_type == "Relu" else None

    def value(self, name: str, ending: Ending, order: Order | None = None) -> Value:
        """The computed tensor `name` as the operator of `ending` takes it, in `order` (None: in its own)."""
        maker = self.reading.restored(name)
        known = self._integers[maker.input[0]] if ending.steps and maker is not None else self.float_value(name)
        return known if order is None else self.ordered(known, order)

    def float_value(self, name: str) -> Value:
        """The computed tensor `name` in float32; a DEQUANTIZE is written once."""
        name = self.reading.dynamic(name) or name
        if name not in self._floats:
            maker = self.reading.restored(name)
            if maker is None or maker.input[0] not in self._integers:
                raise ModelError(f"nothing makes '{name}'", where="graph", fix="check it with onnx.checker")
            known = self._integers[maker.input[0]]
            self._floats[name] = made = self.add(name, known.shape, known.order)
            self.flat.operator("DEQUANTIZE", 2, [known.tensor], made.tensor)
        return self._floats[name]

    def made(self, ending: Ending, order: Order, shape: tuple[int, ...] | None = None) -> Value:
        """A new tensor for what an operator makes."""
        shape = tuple(self.shapes[ending.name]) if shape is None else shape
        if ending.steps is None:
            self._floats[ending.name] = made = self.add(ending.name, shape, order)
            return made
        made = self.add(ending.quantizers[0].output[0], shape, order, ending.steps)
        for quantizer in ending.quantizers:
            self._integers[quantizer.output[0]] = made
            self._fused.add(quantizer.output[0])
        return made

    def known_as(self, ending: Ending, value: Value) -> None:
        """Says that what `ending` names is there already."""
        if ending.steps is None:
            self._floats[ending.name] = value
        for quantizer in ending.quantizers:
            self._integers[quantizer.output[0]] = value
            self._fused.add(quantizer.output[0])

    def between(self, value: Value, name: str, shape: tuple[int, ...] | None = None) -> Value:
        """A new tensor of the type of `value`, in its order, inside of what becomes one node of the graph."""
        return self.add(name, shape or value.shape, value.order, value.steps)

    def ordered(self, value: Value, order: Order) -> Value:
        """`value` with its axes in `order`: a RESHAPE where no element moves, else a TRANSPOSE."""
        if value.order == order:
            return value
        told = f"order{''.join(map(str, order))}"
        made = self.add(f"{value.tensor}_{told}", value.shape, order, value.steps)
        if moves(value, order):
            axes = np.array([value.order.index(axis) for axis in order], np.int32)
            self.flat.operator("TRANSPOSE", 2 if value.steps else 1,
                               [value.tensor, self.flat.constant(axes, told)], made.tensor, table="TransposeOptions")
        else:
            self.reshape(value, made)
        return made

    def reshape(self, value: Value, made: Value) -> None:
        """Writes the RESHAPE of `value` to the shape of `made`, whatever the batch."""
        shape = np.array([-1, *made.stored[1:]], np.int32)
        self.flat.operator("RESHAPE", 1, [value.tensor, self.flat.constant(shape, "shape")], made.tensor,
                           table="ReshapeOptions", newShape=shape.tolist())

    def drop_ones(self, value: Value, ending: Ending) -> None:
        """Makes what `ending` names of `value`, which has axes of one more than it: the numbers stay in their order."""
        self.reshape(self.ordered(value, plain(value.shape)),
                     self.made(ending, plain(tuple(self.shapes[ending.name]))))

    def constant(self, values: NDArray[Any], name: str, order: Order | None = None) -> int:
        """A float32 constant in the file; with `order` its axes, filled up in front, lie in that."""
        values = np.asarray(values, np.float32)
        if order is not None:
            values = values.reshape((1,) * (len(order) - values.ndim) + values.shape).transpose(order)
        return self.flat.constant(np.ascontiguousarray(values), name)

    def add(self, name: str, shape: tuple[int, ...], order: Order, steps: Steps | None = None,
            kind: str = "float32") -> Value:
        """A new tensor of the file: int8 where it has `steps`, else of `kind`."""
        value = Value(tensor=-1, shape=shape, order=order, steps=steps)
        number = self.flat.computed(value.stored, "int8" if steps else kind, name, steps)
        return replace(value, tensor=number)

    def _quantize(self, node: onnx.NodeProto) -> None:
        steps = self.reading.steps(node)
        if steps is None:
            raise ModelError("makes other integers than signed int8 with one scale, and LiteRT takes no others",
                             where=node_label(node), fix="export with --target litert")
        value = self.float_value(node.input[0])
        self._integers[node.output[0]] = made = self.add(node.output[0], value.shape, value.order, steps)
        self.flat.operator("QUANTIZE", 1, [value.tensor], made.tensor)


Writer = Callable[[Translation, onnx.NodeProto], None]


def moves(value: Value, order: Order) -> bool:
    """Whether an element of `value` lies elsewhere in memory when its axes are in `order`."""
    wide = [axis for axis in value.order if value.shape[axis] != 1]
    # The batch is 1 here and any number when the file runs.
    return [axis for axis in order if axis in wide] != wide or value.order[0] != order[0]


def plain(shape: tuple[int, ...]) -> Order:
    """The order of the graph itself."""
    return tuple(range(len(shape)))


def whole(node: onnx.NodeProto, name: str, default: int) -> int:
    """An attribute that is a whole number."""
    value = attribute(node, name, default)
    assert isinstance(value, int)
    return value
