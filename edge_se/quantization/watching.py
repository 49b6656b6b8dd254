"""Running a graph so that its inner tensors are seen: which, how many images at once, in how many threads."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_se.core.environment import cpu_count
from edge_se.core.errors import CalibrationError
from edge_se.data.images import Images
from edge_se.data.splits import filled
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.shapes import inferred
from edge_se.graph.view import GraphView
from edge_se.quantization.placement import CONV_ONLY, float_in_all, residual_inputs
from edge_se.quantization.targets import TARGETS, WEIGHTED, Target

FLOATS_PER_RUN = 16 * 2**20  # 64 MiB of activations: more images at once are no faster
FLOATS_AT_ONCE = 64 * 2**20  # 256 MiB of activations in all threads, for every net and number of images
LARGEST_BATCH = 32

Values = dict[str, NDArray[np.float32]]


class Watch:
    """A session of `model` that also returns the tensors `names`; CalibrationError for images of another shape."""

    def __init__(self, model: OnnxModel, images: Images, names: Sequence[str]) -> None:
        import onnxruntime

        _require_shape(model, images)
        self._input, self._images, self.names = model.input_name, images, list(names)
        self.fixed = model.input_shape[0]
        floats = _floats_of_an_image(model)
        self._batch = self.fixed or batch_of(floats)
        self._threads = max(1, min(cpu_count(), FLOATS_AT_ONCE // max(1, floats * self._batch)))
        declared = {value.name for value in model.proto.graph.output}
        more = onnx.ModelProto()
        more.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in declared)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = cpu_count() - self._threads + 1  # they share a pool, and each has its own thread
        # Its own pool keeps the largest of everything it ever held, of each thread; malloc is as fast.
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        # Readers of protobuf merge what is appended: the graph gets more outputs, and no copy of it is made.
        self._session: Any = onnxruntime.InferenceSession(model.content + more.SerializeToString(), options,
                                                          providers=["CPUExecutionProvider"])

    def run(self, batch: NDArray[Any]) -> Values:
        """The tensors of one batch; a fixed one is filled up with copies of its last image."""
        return dict(zip(self.names, self._session.run(self.names, {self._input: filled(batch, self.fixed)})))

    def batches(self) -> Iterator[NDArray[Any]]:
        """The inputs of the model, in order."""
        return self._images.batches(self._batch)

    def each(self, work: Callable[[int, NDArray[Any], Values], None], advance: Callable[[int], None]) -> None:
        """`work(first, batch, tensors)` for each batch, whose first image is that number; raises what it raises.

        It is called in several threads at once, where there are processors, and `advance` in this one, in order. While
        one thread counts another one infers, which keeps all processors busy, as one batch at a time does not.
        """
        def job(first: int, batch: NDArray[Any]) -> int:
            work(first, batch, self.run(batch))
            return len(batch)

        first, waiting = 0, deque[Future[int]]()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="watch") as pool:
            try:
                for batch in self.batches():
                    if len(waiting) > self._threads:
                        advance(waiting.popleft().result())
                    waiting.append(pool.submit(job, first, batch))
                    first += len(batch)
                while waiting:
                    advance(waiting.popleft().result())
            finally:
                for future in waiting:
                    future.cancel()


def watched(model: OnnxModel, images: Images, names: Sequence[str]) -> Iterator[tuple[NDArray[Any], Values]]:
    """Batches of inputs, in order, with the tensors `names` of each.

    A fixed batch is filled up with copies of its last image; averages must leave them out. Raises CalibrationError for
    a tensor that is not finite.
    """
    watch = Watch(model, images, names)
    for batch in watch.batches():
        values = watch.run(batch)
        for name, value in values.items():
            require_finite(name, float(value.min()), float(value.max()))
        yield batch, values


def require_finite(name: str, low: float, high: float) -> None:
    """Raises CalibrationError unless the extremes of a tensor are finite; NaN is an extreme, too."""
    if not (math.isfinite(low) and math.isfinite(high)):
        raise CalibrationError(f"tensor '{name}' is not finite on these images", where="calibration",
                               fix="the model overflows: check its weights and the normalisation")


def quantizable(proto: onnx.ModelProto, targets: Iterable[Target] = tuple(TARGETS.values())) -> list[str]:
    """The float activations whose ranges one of `targets` needs in some placement, and the outputs, in graph order.

    What only a Relu or Clip reads is left out, which keeps both fused with the layer before them: its range is that of
    what they make of it (`with_clipped`).
    """
    shaped = inferred(proto)
    floats = {value.name for value in (*shaped.graph.value_info, *shaped.graph.output)
              if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    view, names = GraphView(proto), []
    wanted = _quantized(proto, [target for target in targets if target.calibrated]).union(view.outputs)
    for node in proto.graph.node:
        for name in node.output:
            if name in wanted and name in floats:
                if (reader := _clip_of(name, view)) is None:
                    names.append(name)
                else:
                    wanted.add(reader.output[0])
    return names


def _quantized(proto: onnx.ModelProto, targets: Sequence[Target]) -> set[str]:
    """What layers read, what operators read and make where a target quantizes outputs, and shortcuts where one does."""
    near = {operator for target in targets if target.quantized_outputs for operator in (*target.operators, *CONV_ONLY)}
    names, never = set[str](), {*float_in_all(proto)}
    if any(target.quantized_residuals for target in targets):
        names.update(shortcut for _, shortcut in residual_inputs(proto))
    for node in proto.graph.node:
        if node.output[0] in never:  # a mask of -inf has no range
            continue
        if node.op_type in near or (targets and node.op_type in WEIGHTED):
            names.update(node.input)
        if node.op_type in near:
            names.update(node.output)
    return names


def with_clipped(proto: onnx.ModelProto, bounds: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """`bounds` with those of the tensors that `quantizable` left out: clipping them so is what their reader does."""
    view, more = GraphView(proto), dict[str, tuple[float, float]]()
    for node in reversed(proto.graph.node):
        for name in node.output:
            reader = _clip_of(name, view)
            found = reader and (bounds.get(reader.output[0]) or more.get(reader.output[0]))
            if found and name not in bounds:
                more[name] = found
    return {**bounds, **more}


def batch_of(floats: int) -> int:
    """As many images of so many activations as fit FLOATS_PER_RUN, at most LARGEST_BATCH."""
    return max(1, min(LARGEST_BATCH, FLOATS_PER_RUN // max(1, floats)))


def _clip_of(name: str, view: GraphView) -> onnx.NodeProto | None:
    """The Relu or Clip that alone reads `name`."""
    reader = view.only_consumer(name)
    return reader if reader is not None and reader.op_type in ("Relu", "Clip") and reader.input[0] == name else None


def _floats_of_an_image(model: OnnxModel) -> int:
    weights = {tensor.name for tensor in model.proto.graph.initializer}  # exporters tell their shapes, too
    return sum(math.prod(dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim)
               for value in inferred(model.proto).graph.value_info if value.name not in weights)


def _require_shape(model: OnnxModel, images: Images) -> None:
    if not images.fits(model.input_shape[1:]):
        raise CalibrationError(f"images are {images.shape}, the model takes {model.input_shape[1:]}",
                               where=images.name,
                               fix="give --calibration with images of the model's own size")
