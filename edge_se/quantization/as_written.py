"""Whether a runtime computes what an INT8 file says.

Runtimes fuse Q/DQ into kernels of their own, and some of those lose accuracy that the file has: onnxruntime's
QLinearSoftmax, or float weights that it rounds by one scale. So the file's own runtime is compared with the same graph
run operator by operator, each against FP32. A node is looked for only where the whole file shows a gap.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_se.backends.base import Backend, Device
from edge_se.core.errors import EdgeSeError
from edge_se.data.images import Images
from edge_se.data.splits import filled
from edge_se.device.agent import AgentError, OnnxRuntimeRunner
from edge_se.evaluation.accuracy import logits_of
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.targets.table import is_dynamic
from edge_se.graph.view import GraphView, node_label
from edge_se.quantization.sensitivity import sqnr_db

IMAGES = 4      # tell whether there may be a gap
CONFIRMED = 32  # images tell whether there is one; the node is looked for on the smaller sample
REFERENCES = (IMAGES, CONFIRMED)  # of samples of how many images FP32's logits are asked for
BOUND_DB = 1.0  # rounding of ties alone moves the SQNR of a few images by some tenths
EXACT_DB = 60.0  # noise this small is float arithmetic, not a lost bit
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """SQNR against FP32 in decibels: of the file in `runtime`, and of its Q/DQ graph run operator by operator.

    `node` is the one from which on the runtime loses more than BOUND_DB; None where it does not.
    """

    runtime: str
    run_db: float
    written_db: float
    node: str | None = None


def fidelity(parent: OnnxModel, model: OnnxModel, images: Images, backend: Backend) -> Fidelity:
    """How well `backend` computes `model`, the INT8 file of the FP32 graph `parent`, on a few of `images`."""
    if model.metadata:
        images = images.seen_by(model.metadata.preprocessing)
    compared = _Compared(parent, model, images.sample(IMAGES), backend)
    told = compared.at(None)
    if told.written_db - told.run_db > BOUND_DB and len(images) > IMAGES:
        told = _Compared(parent, model, images.sample(CONFIRMED), backend).at(None)
    if told.written_db - told.run_db <= BOUND_DB:
        return told
    return Fidelity(runtime=told.runtime, run_db=told.run_db, written_db=told.written_db,
                    node=compared.first_node_that_loses())


class _Compared:
    """FP32, the file in its runtime and the file operator by operator, cut off at any tensor."""

    def __init__(self, parent: OnnxModel, model: OnnxModel, images: Images, backend: Backend) -> None:
        self._parent, self._model, self._images, self._backend = parent, model, images, backend
        fixed = model.input_shape[0]
        size = fixed or (1 if is_dynamic(model.target) else IMAGES)  # onnxruntime takes one range for a batch
        self._batches = [(filled(batch, fixed), len(batch)) for batch in images.batches(size)]

    def at(self, tensor: str | None) -> Fidelity:
        """Of the tensor of the FP32 graph with this name; of the logits where None."""
        reference = (logits_of(self._parent, self._images) if tensor is None  # kept for the files of other targets
                     else self._as_written(cut(self._parent, tensor)))
        model = self._model if tensor is None else cut(self._model, _restored(self._model, tensor))
        written = self._as_written(model)
        with self._backend.open(model, Device()) as session:
            run = np.concatenate([session.run(batch)[:count] for batch, count in self._batches])
        run_db, written_db = (min(EXACT_DB, sqnr_db(reference, np.nan_to_num(own))) for own in (run, written))
        return Fidelity(runtime=self._backend.name, run_db=run_db, written_db=written_db)

    def first_node_that_loses(self) -> str:
        """By bisection: the node up to which the runtime computes what the file says, and no further."""
        view = GraphView(self._model.proto)
        nodes = [node for node in self._parent.proto.graph.node if node.output[0] in view.producer]
        good, bad = -1, len(nodes) - 1
        while bad - good > 1:
            middle = (good + bad) // 2
            if self._loses_at(nodes[middle].output[0]):
                bad = middle
            else:
                good = middle
        return node_label(nodes[bad])

    def _loses_at(self, tensor: str) -> bool:
        try:
            told = self.at(tensor)
        except (EdgeSeError, AgentError):  # a part that the runtime does not load tells nothing
            return False
        return told.written_db - told.run_db > BOUND_DB

    def _as_written(self, model: OnnxModel) -> Floats:
        with closing(OnnxRuntimeRunner(model.content, 0, as_written=True)) as runner:
            return np.concatenate([runner.run(batch)[:count] for batch, count in self._batches])


def cut(model: OnnxModel, tensor: str) -> OnnxModel:
    """The part of a graph that makes `tensor`, which is then its one output."""
    proto = model.copy()
    producer, wanted, needed = GraphView(proto).producer, [tensor], set[str]()
    while wanted:
        name = wanted.pop()
        if name and name not in needed:
            needed.add(name)
            wanted += producer[name].input if name in producer else []
    kept = [node for node in proto.graph.node if needed.intersection(node.output)]
    constants = [constant for constant in proto.graph.initializer if constant.name in needed]
    for field, items in ((proto.graph.node, kept), (proto.graph.initializer, constants),
                         (proto.graph.output, [onnx.ValueInfoProto(name=tensor)])):
        del field[:]
        field.extend(items)
    return OnnxModel.of(proto, precision=model.precision, target=model.target)


def _restored(model: OnnxModel, tensor: str) -> str:
    """The tensor behind the Q/DQ pair of `tensor`, where it has one: with that as output the pair stays fused."""
    view = GraphView(model.proto)
    for quantized in view.consumers[tensor]:
        if quantized.op_type in ("QuantizeLinear", "DynamicQuantizeLinear"):
            for node in view.consumers[quantized.output[0]]:
                if node.op_type == "DequantizeLinear":
                    return str(node.output[0])
    return tensor
