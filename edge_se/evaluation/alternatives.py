"""What may be wrong with how a model sees images or with the order of its classes: the likely alternatives.

Three things vary: the value of a pixel (order of channels, range, mean and std), the way to the model's size, and which
output a label is. Each alternative says in words what it changes, and which options tell it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_se.data.preprocessing import CIFAR10
from edge_se.data.presets import CAFFE_MEAN, CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, ONES, PRESETS, ZEROS
from edge_se.device.agent.preprocess import Preprocessing

GREY = {"MNIST": ((0.1307,), (0.3081,))}
_FAMILIES: tuple[tuple[str, str, tuple[float, ...], tuple[float, ...]], ...] = (
    ("pixels from 0 to 1, no mean and std", "0-1", ZEROS, ONES),
    ("pixels from -1 to 1", "-1-1", ZEROS, ONES),
    ("pixels from 0 to 255", "0-255", ZEROS, ONES),
    ("ImageNet's mean and std", "0-1", IMAGENET_MEAN, IMAGENET_STD),
    ("CIFAR-10's mean and std", "0-1", CIFAR10.mean, CIFAR10.std),
    ("CLIP's mean and std", "0-1", CLIP_MEAN, CLIP_STD),
    ("pixels from 0 to 255 less Caffe's mean", "0-255", CAFFE_MEAN[::-1], ONES))
_GEOMETRIES: tuple[tuple[str, dict[str, object]], ...] = (
    ("the shorter side scaled to the model's size", {"resize": "crop", "share": 1.0}),
    ("the centre of 7/8", {"resize": "crop", "share": 0.875}),
    ("the centre of 3/4", {"resize": "crop", "share": 0.75}),
    ("squashed to the model's size", {"resize": "squash"}),
    ("all of the image on grey bars", {"resize": "letterbox"}))


@dataclass(frozen=True, kw_only=True)
class View:
    """One way to see images: `changes` in words, () for that of the model."""

    how: Preprocessing
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Order:
    """Which output each label is: `outputs` (classes,), -1 for none. `change` in words, "" for the given one.

    One that is `fitted` was made of the answers themselves.
    """

    outputs: NDArray[np.int64]
    change: str = ""
    fix: str = ""
    fitted: bool = False


def views_of_values(how: Preprocessing) -> list[View]:
    """`how` first, then every family in each order of channels that is none of the others."""
    views = [View(how=how)]
    for colour in ("RGB", "BGR") if how.channels == 3 else ("grey",):
        words = () if colour == how.colour else (f"{colour} channels",)
        if words:
            views.append(View(how=replace(how, colour=colour, mean=how.mean[::-1], std=how.std[::-1]), changes=words))
        for name, scale, mean, std in _FAMILIES if how.dtype == "float32" else ():
            if colour == "BGR":
                mean, std = mean[::-1], std[::-1]
            if colour == "grey":
                mean, std = (tuple(np.round([np.mean(values)], 4).tolist()) for values in (mean, std))
            views.append(View(how=replace(how, colour=colour, range=scale, mean=mean, std=std),
                              changes=(*words, name)))
    if how.colour == "grey" and how.dtype == "float32":
        for name, (mean, std) in GREY.items():
            views.append(View(how=replace(how, range="0-1", mean=mean, std=std),
                              changes=(f"{name}'s mean and std",)))
    return _different(views)


def views_of_geometry(view: View) -> list[View]:
    """`view` first, then the other ways to the model's size."""
    views = [view]
    for name, fields in _GEOMETRIES:
        for interpolation in ("bilinear", "bicubic"):
            how = replace(view.how, interpolation=interpolation, **fields)  # type: ignore[arg-type]
            words = () if replace(view.how, **fields) == view.how else (name,)  # type: ignore[arg-type]
            if interpolation != view.how.interpolation:
                words = (*words, f"{interpolation} interpolation")
            views.append(View(how=how, changes=(*view.changes, *words)))
    views.append(View(how=replace(view.how, antialias=not view.how.antialias), changes=(
        *view.changes, f"{'no ' * view.how.antialias}antialiasing")))
    return _different(views)


def orders_of(given: NDArray[np.int64], names: Sequence[str], outputs: int) -> list[Order]:
    """The `given` order first: (classes,) outputs of the labels, whose `names` may be empty; then likely others."""
    orders = [Order(outputs=given)]
    for change, fix, sort in (
            ("classes in the natural order of their names (2 before 10)",
             "name the outputs in this order with --labels", _natural),
            ("classes in the alphabetical order of their names (10 before 2)",
             "name the outputs in this order with --labels", str),
            ("classes in the alphabetical order of their names without case",
             "name the outputs in this order with --labels", str.lower)):
        if names:
            places = {name: place for place, name in enumerate(sorted(names, key=sort))}
            orders.append(Order(outputs=np.array([places[name] for name in names]), change=change, fix=fix))
    if names and all(name.isdecimal() and name.isascii() and len(name) < 9 for name in names):
        orders.append(Order(outputs=np.array([int(name) for name in names]),
                            change="classes by the number that is their name",
                            fix="name the outputs 0, 1, 2, ... with --labels"))
    for order in list(orders):
        words = f", {order.change}" if order.change else ""
        orders.append(Order(outputs=order.outputs + 1, change=f"a background class as output 0{words}",
                            fix="cut output 0 off, or name it as a class of its own with --labels"))
        orders.append(Order(outputs=order.outputs - 1, change=f"labels that count from 1{words}",
                            fix="number the labels from 0"))
    kept: list[Order] = []
    for order in orders:
        inside = (order.outputs >= 0) & (order.outputs < outputs)
        usable = replace(order, outputs=np.where(inside, order.outputs, -1))
        if not any(np.array_equal(usable.outputs, other.outputs) for other in kept) and (
                order is orders[0] or inside.mean() > 0.5):
            kept.append(usable)
    return kept


def matched_order(answers: NDArray[np.int64], labels: NDArray[np.int64], names: Sequence[str],
                  outputs: int) -> tuple[Order, NDArray[np.bool_]]:
    """The order of classes that explains `answers` (n,), outputs, to images of `labels` (n,) best; which are right.

    So that the order cannot explain chance, each half of the images is judged by the order that fits the other half.
    `names` of the classes, as many as `outputs`, may be empty.
    """
    from scipy.optimize import linear_sum_assignment

    def fitted(places: NDArray[np.intp]) -> NDArray[np.int64]:
        counts = np.zeros((outputs, outputs))
        np.add.at(counts, (labels[places], answers[places]), 1)
        return np.asarray(linear_sum_assignment(counts, maximize=True)[1], np.int64)

    places, right = np.arange(len(labels)), np.zeros(len(labels), np.bool_)
    for half in (places % 2 == 0, places % 2 == 1):
        right[half] = fitted(places[~half])[labels[half]] == answers[half]
    order = fitted(places)
    told = ", ".join((names or [str(place) for place in range(outputs)])[place] for place in np.argsort(order))
    return Order(outputs=order, change="classes in another order",
                 fix=f"name the outputs with --labels, in the order {told}", fitted=True), right


def options_between(before: Preprocessing, after: Preprocessing) -> str:
    """The options that tell `after` where `before` is assumed, in short."""
    parts = []
    if (before.range, before.mean, before.std, before.colour) != (after.range, after.mean, after.std, after.colour):
        parts = [*_named(after)] or [*_spelled(before, after)]
    for name, option in (("resize", "--resize"), ("share", "--crop-share"), ("interpolation", "--interpolation")):
        told, usual = getattr(after, name), getattr(before, name)
        if told != usual and not (name == "share" and after.resize != "crop"):
            parts.append(f"{option} {told:g}" if isinstance(told, float) else f"{option} {told}")
    if before.antialias != after.antialias:
        parts.append("--antialias" if after.antialias else "--no-antialias")
    return " ".join(parts)


def _named(how: Preprocessing) -> Iterator[str]:
    """`--preprocessing NAME` where a preset has these values of pixels, bilinear as the others."""
    for name, fields in PRESETS.items():
        told = {"range": "0-1", "colour": "RGB"} | {key: fields[key] for key in ("range", "colour", "mean", "std")
                                                    if key in fields}
        if "interpolation" not in fields and all(getattr(how, key) == value for key, value in told.items()):
            yield f"--preprocessing {name}"
            return


def _spelled(before: Preprocessing, after: Preprocessing) -> Iterator[str]:
    if before.colour != after.colour:
        yield f"--colour {after.colour}"
    if before.range != after.range:
        yield f"--range {after.range}"
    flipped = before.colour != after.colour and before.range == after.range
    for name in ("mean", "std"):
        told, usual = getattr(after, name), getattr(before, name)
        usual = usual[::-1] if flipped else usual
        plain = set(told) == ({0.0} if name == "mean" else {1.0})
        if told != usual and not (before.range != after.range and plain):
            yield f"--{name} {','.join(f'{value:g}' for value in told)}"


def _different(views: list[View]) -> list[View]:
    """Without those whose preprocessing an earlier one has."""
    kept: list[View] = []
    for view in views:
        if all(_same(view.how, other.how) is False for other in kept):
            kept.append(view)
    return kept


def _same(one: Preprocessing, other: Preprocessing) -> bool:
    """Whether both make the same tensor of an image."""
    if replace(one, mean=other.mean, std=other.std, range=other.range) != other:
        return False
    return all(np.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(one.scale_and_shift(), other.scale_and_shift()))


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sorts numbers inside a name by their value."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"([0-9]+)", name) if part]
