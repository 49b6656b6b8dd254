"""Folds excitations into the convolutions beside them, where a trained excitation hardly depends on the image.

An excitation whose values are the same for every image is a constant scale per channel. Behind a convolution the
scale goes into its weights and bias, before one into its weights; elsewhere it stays as a multiplication by a constant.
The pool, the layers and the sigmoid, which cost nearly all of SE's time and hardly compute anything, are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edge_se.core.errors import CalibrationError
from edge_se.core.progress import Progress
from edge_se.data.images import Images
from edge_se.evaluation.accuracy import Drop, drop_from, logits_of, top1
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.rewrites import checked, remove_unused_initializers, remove_unused_nodes
from edge_se.graph.view import GraphView, attribute
from edge_se.quantization.excitations import Excitation, factors, find_excitations
from edge_se.quantization.units import excitation_name
from edge_se.quantization.watching import watched


@dataclass(frozen=True, kw_only=True)
class ExcitationValues:
    """What an excitation did on a set of images.

    `mean` is over the images, float32 in the excitation's own shape with a batch of 1: (1, C, 1, 1). `deviation` is the
    standard deviation over images relative to that mean, in the mean of channels: 0 for an excitation that is constant.
    """

    name: str
    excitation: Excitation
    mean: NDArray[np.float32]
    deviation: float


@dataclass(frozen=True, kw_only=True)
class Folding:
    """The folded excitations, which depend least on the image, and what folding cost on the images that chose them.

    `excitations` has all of the model, in that order; the first `count` are folded. Accuracies are in percent, None
    without labels; `drop` is against the model as it was trained.
    """

    parent_sha256: str
    excitations: tuple[ExcitationValues, ...]
    count: int
    calibration: str
    images: int
    held_out: str
    parent_top1: float | None
    top1: float | None
    drop: Drop

    def document(self) -> dict[str, Any]:
        """As JSON, drops in points."""
        return {"parent_sha256": self.parent_sha256, "folded": self.count,
                "gates": [{"name": excitation.name, "deviation": excitation.deviation, "folded": position < self.count}
                          for position, excitation in enumerate(self.excitations)],
                "calibration": self.calibration, "images": self.images, "held_out": self.held_out, "n": self.drop.n,
                "parent_top1": self.parent_top1, "top1": self.top1, "drop_pp": 100 * self.drop.drop,
                "ci_pp": [100 * self.drop.low, 100 * self.drop.high], "flips": self.drop.flips}


def fold_excitations(model: OnnxModel, images: Images, held_out: Images, *, max_drop_pp: float, alpha: float,
               progress: Progress) -> tuple[OnnxModel, Folding]:
    """`model` with as many excitations folded as lose at most `max_drop_pp` points at confidence 1 - alpha.

    Means are taken on `images`, the drop on `held_out` (without labels the share of flips bounds it). Excitations are
    folded in the order of their deviation. All are tried first, then the middle between a count that held and one
    that did not. Raises CalibrationError when no excitation can be folded, and for images of the test set.
    """
    if held_out.split == "test":
        raise CalibrationError("the test set chooses nothing", where=held_out.name,
                               fix="point --data at CIFAR-10: its held-out training images serve")
    with progress.task(f"watching excitations on {images.name}", len(images)) as advance:
        values = sorted(excitation_values(model, images, advance), key=lambda value: value.deviation)
    if not values:
        where = model.metadata.model if model.metadata else "--model"
        raise CalibrationError("has no excitations to fold", where=where, fix="leave --fold-excitations out")
    if held_out.labels is None:
        progress.note("no labelled images to choose on: folded excitations are judged by their flips on "
                      f"{held_out.name}")
    reference = logits_of(model, held_out)
    tried: dict[int, tuple[OnnxModel, NDArray[np.float32], Drop]] = {}

    def holds(count: int) -> bool:
        candidate = folded(model, values[:count])
        with progress.task(f"evaluating {count} of {len(values)} excitations folded", len(held_out)) as advance:
            logits = logits_of(candidate, held_out, advance)
        tried[count] = candidate, logits, drop_from(reference, logits, held_out.labels, alpha)
        return 100 * tried[count][2].high <= max_drop_pp

    count = _most(len(values), holds)
    if not count:
        raise CalibrationError(
            f"no excitation can be folded within {max_drop_pp:g} points: the one that depends least on the image may "
            f"lose {100 * tried[1][2].high:.2f} on {len(held_out):,} images", where="--fold-excitations",
            fix="raise --max-drop, or leave --fold-excitations out" + (
                "" if held_out.labels is not None else "; labelled images (--data) give tighter bounds than flips"))
    candidate, logits, drop = tried[count]
    labels = held_out.labels
    return candidate, Folding(
        parent_sha256=model.sha256, excitations=tuple(values), count=count, calibration=images.name, images=len(images),
        held_out=held_out.name, parent_top1=None if labels is None else top1(reference, labels),
        top1=None if labels is None else top1(logits, labels), drop=drop)


def _most(total: int, holds: Callable[[int], bool]) -> int:
    """The largest count that `holds`, found by halving, as if fewer were always better; 0 when none does."""
    if holds(total):
        return total
    most, least = 0, total
    while least - most > 1:
        middle = (most + least) // 2
        most, least = (middle, least) if holds(middle) else (most, middle)
    return most


def excitation_values(model: OnnxModel, images: Images, advance: Callable[[int], None] = lambda images: None
                      ) -> list[ExcitationValues]:
    """Every excitation of `model` on `images`, in graph order."""
    excitations, view = find_excitations(model.proto), GraphView(model.proto)
    names = [factors(excitation, view)[1] for excitation in excitations]
    if not excitations:
        return []
    seen: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for batch, tensors in watched(model, images, names):
        for name in names:
            seen[name].append(tensors[name][:len(batch)])
        advance(len(batch))
    described = []
    for excitation, name in zip(excitations, names):
        values = np.concatenate(seen[name]).astype(np.float64)  # a few thousand numbers an image
        if values.ndim == 4 and (values == values[:, :, :1, :1]).all():
            values = values[:, :, :1, :1]  # expanded to the size of its features
        mean = values.mean(0, keepdims=True)
        relative = values.std(0, keepdims=True) / np.maximum(np.abs(mean), np.finfo(np.float32).tiny)
        described.append(ExcitationValues(name=excitation_name(excitation.inner, view), excitation=excitation,
                                          mean=mean.astype(np.float32), deviation=float(relative.mean())))
    return described


def folded(model: OnnxModel, values: Sequence[ExcitationValues]) -> OnnxModel:
    """`model` with these excitations as constants, in the weights of a convolution if one is beside them."""
    proto = model.copy()
    for value in values:
        view = GraphView(proto)
        scale = view.producer[value.excitation.scale]
        excitation = factors(value.excitation, view)[1]
        constant = _added(proto, f"{excitation}_constant", value.mean)
        scale.input[list(scale.input).index(excitation)] = constant
        remove_unused_nodes(proto)
        _absorb(proto, scale, constant, value.mean)
    remove_unused_initializers(proto)
    del proto.graph.value_info[:]  # of tensors that may be gone
    return OnnxModel.of(checked(proto), precision=model.precision, target=model.target)


def _absorb(proto: onnx.ModelProto, scale: onnx.NodeProto, constant: str, values: NDArray[np.float32]) -> None:
    """Removes the node `scale` where a convolution before it, or all that read its product, can take its `values`."""
    view = GraphView(proto)
    scaled = next(name for name in scale.input if name != constant)
    before, readers = view.producer.get(scaled), view.consumers[scale.output[0]]
    if values.shape != (1, values.size, 1, 1):
        return
    if before is not None and _is_float_conv(before, view) and view.only_consumer(scaled) is not None:
        _multiply_input(proto, before, 1, view, values.reshape(-1, 1, 1, 1))
        if len(before.input) > 2 and before.input[2]:
            _multiply_input(proto, before, 2, view, values.reshape(-1))
        before.output[0] = scale.output[0]
    elif readers and scale.output[0] not in view.outputs and all(
            _is_float_conv(node, view) and attribute(node, "group", 1) == 1 and node.input[0] == scale.output[0]
            for node in readers):
        for node in readers:
            _multiply_input(proto, node, 1, view, values.reshape(1, -1, 1, 1))  # padding is zero, scaled or not
            node.input[0] = scaled
    else:
        return
    proto.graph.node.remove(scale)


def _is_float_conv(node: onnx.NodeProto, view: GraphView) -> bool:
    constants = [view.constant(name) for name in node.input[1:] if name]
    return node.op_type == "Conv" and all(value is not None and value.dtype == np.float32 for value in constants)


def _multiply_input(proto: onnx.ModelProto, node: onnx.NodeProto, position: int, view: GraphView,
                    by: NDArray[np.float32]) -> None:
    """Multiplies a constant input of `node`, for this node alone: others may read the same constant."""
    value = view.constant(node.input[position])
    assert value is not None
    scaled = np.asarray(value, np.float32) * by
    node.input[position] = _added(proto, f"{node.input[position]}_scaled", scaled)


def _added(proto: onnx.ModelProto, name: str, value: NDArray[np.float32]) -> str:
    """Adds a constant as `name`, or as the next free name like it; returns its name."""
    taken = {item.name for item in proto.graph.initializer} | {out for node in proto.graph.node for out in node.output}
    free = next(text for text in (name, *(f"{name}_{number}" for number in range(len(taken) + 1))) if text not in taken)
    proto.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), free))
    return free
