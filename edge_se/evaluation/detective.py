"""Which preprocessing and which order of classes explains the labels best, and by how much.

Every alternative is judged on the same images as the model's own way, so its gain is paired. A gain counts where the
lower end of its interval, at an alpha that is shared by all alternatives (Bonferroni), is above zero. Of alternatives
that explain the labels about as well as the best, the one with the fewest changes is the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Device
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.core.errors import ModelError
from edge_se.data.images import Images, drawn
from edge_se.data.splits import filled
from edge_se.device.agent.preprocess import tensor
from edge_se.evaluation.alternatives import (
    Order,
    View,
    matched_order,
    options_between,
    orders_of,
    views_of_geometry,
    views_of_values,
)
from edge_se.evaluation.statistics import drop_interval, pair, wilson_interval
from edge_se.graph.onnx_model import OnnxModel

ALPHA = 0.025   # one-sided, for all alternatives together
FEW = 150       # images of the short form
FIRST = 100     # images on which every alternative is tried; the best go on with all of them
KEPT = 6
MATCHED = 100   # classes, up to which any order of them is an alternative
VIEWS = 13      # about as many of pixels' values, and of ways to the model's size
BATCH = 32
Right = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """A view in an order, and which of the images (n,) it gets right."""

    view: View
    order: Order
    right: Right

    @property
    def changes(self) -> tuple[str, ...]:
        """In words; () for the model's own way."""
        return (*self.view.changes, *([self.order.change] if self.order.change else []))

    @property
    def cost(self) -> int:
        """How many changes; an order that was fitted is the last resort."""
        return len(self.changes) + self.order.fitted

    @property
    def top1(self) -> float:
        """In percent."""
        return 100 * float(self.right.mean())

    @property
    def ci(self) -> tuple[float, float]:
        """Wilson's interval of `top1`, in percent."""
        low, high = wilson_interval(int(self.right.sum()), len(self.right))
        return 100 * low, 100 * high

    def gain_over(self, other: Alternative, alpha: float) -> tuple[float, tuple[float, float]]:
        """Percentage points and Tango's interval at confidence 1 - 2 alpha, paired on the images that both saw."""
        count = min(len(self.right), len(other.right))
        mine, theirs = (right[:count].astype(np.intp) for right in (self.right, other.right))
        paired = pair(theirs, mine, np.ones(count, np.intp))
        low, high = drop_interval(paired, alpha)
        return 0.0 - 100 * paired.drop, (0.0 - 100 * high, 0.0 - 100 * low)  # no negative zero


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`own` is the model's way, `best` the answer (`own` itself where nothing is surely better).

    `others` are all alternatives, the most accurate first; `alpha` is that of each comparison. `by_chance` is how
    often a guess is right, in percent.
    """

    own: Alternative
    best: Alternative
    others: tuple[Alternative, ...]
    alpha: float
    by_chance: float

    @property
    def verdict(self) -> str:
        """`fits`, `wrong` (another explains the labels better) or `unexplained` (nothing beats guessing)."""
        if self.best is not self.own:
            return "wrong"
        return "fits" if self.own.ci[0] > self.by_chance else "unexplained"


def investigate(model: OnnxModel, images: Images, given: NDArray[np.int64], names: Sequence[str] = (), *,
                geometry: bool = True, advance: Callable[[int], None] = lambda images: None) -> Finding:
    """Tries alternatives to `images.preprocessing` for `images`, labelled, in random order.

    `given` (classes,) is the output that each label is held to be, and `names` those of the labels. `geometry` also
    tries other ways to the model's size, which decodes the images again. Raises ModelError where the model takes
    images of another kind.
    """
    assert images.labels is not None
    labels = np.asarray(images.labels, np.int64)
    with _Predictor(model, images, advance) as predict:
        views = views_of_values(images.preprocessing)
        own_answers = predict(views[0], 0, len(labels))
        orders = orders_of(given, names, predict.outputs)

        def judged(view: View, answers: NDArray[np.int64]) -> list[Alternative]:
            return [Alternative(view=view, order=order, right=order.outputs[labels[:len(answers)]] == answers)
                    for order in orders]

        pool = judged(views[0], own_answers)
        own = pool[0]
        pool += _rounds(views[1:], len(labels), predict, judged)
        if len(given) == predict.outputs <= MATCHED:
            order, right = matched_order(own_answers, labels, names, predict.outputs)
            if not any(np.array_equal(order.outputs, likely.outputs) for likely in orders):
                pool.append(Alternative(view=views[0], order=order, right=right))
        best = _simplest(own, pool, ALPHA / max(1, len(pool)))
        if geometry:
            further = views_of_geometry(best.view)[1:]
            found = _rounds(further, len(labels), predict, judged)
            found = [item for item in found if item.order is best.order]
            pool += found
            best = _simplest(best, [best, *found], ALPHA / max(1, len(pool)))
    alpha = ALPHA / max(1, len(pool))
    counts = np.bincount(labels)
    return Finding(own=own, best=best, alpha=alpha, others=tuple(sorted(
        (item for item in pool if item is not own), key=lambda item: (-item.top1, len(item.changes)))),
        by_chance=100 * max(1 / predict.outputs, float(counts.max()) / len(labels)))


def effort(count: int) -> int:
    """About how many images `investigate` runs for so many."""
    return count + 2 * (VIEWS * min(FIRST, count) + KEPT * max(0, count - FIRST))


def is_implausible(top1: float, outputs: int) -> bool:
    """Whether a trained classifier of so many outputs should do better than `top1` percent.

    That is where it gets less than half of what guessing leaves.
    """
    return outputs > 1 and top1 < 100 / outputs + (100 - 100 / outputs) / 2


def likely_cause(model: OnnxModel, images: Images, top1: float | None, names: Sequence[str] = ()) -> str | None:
    """Why the model is right on only `top1` percent of `images`, whose labels are its outputs and have `names`.

    The short form: `FEW` images, nothing that decodes them again, and only where `top1` is implausible. None where it
    is not, and where nothing explains the labels better.
    """
    if images.labels is None or top1 is None or not is_implausible(top1, len(names) or int(images.labels.max()) + 1):
        return None
    if model.metadata:
        images = images.seen_by(model.metadata.preprocessing)
    labels = np.asarray(images.labels, np.int64)
    few = images.take(np.random.default_rng(0).permutation(drawn(labels, FEW, 0)))
    count = max(len(names), int(labels.max()) + 1)
    finding = investigate(model, few, np.arange(count), names if len(names) == count else (), geometry=False)
    if finding.verdict != "wrong":
        return None
    options = options_between(finding.own.view.how, finding.best.view.how) or finding.best.order.fix
    words = "; ".join(finding.best.changes)
    return (f"FP32 is right on {finding.own.top1:.0f} % of {len(few)} images. With {words} it would be on "
            f"{finding.best.top1:.0f} %: {options}. `edge-se data check` tells more")


def _rounds(views: Sequence[View], count: int, predict: _Predictor,
            judged: Callable[[View, NDArray[np.int64]], list[Alternative]]) -> list[Alternative]:
    """All views on the first images; the best of them on all."""
    first = [(view, predict(view, 0, min(FIRST, count))) for view in views]
    ranked = sorted(first, key=lambda item: -max(one.top1 for one in judged(*item)))
    results = [one for item in ranked[KEPT:] for one in judged(*item)]
    for view, answers in ranked[:KEPT]:
        rest = predict(view, len(answers), count)
        results += judged(view, np.concatenate([answers, rest]))
    return results


def _simplest(own: Alternative, pool: Sequence[Alternative], alpha: float) -> Alternative:
    """The answer among `pool`: `own` unless others are surely better, then that with the fewest changes."""
    whole = [item for item in pool if len(item.right) == len(own.right)]
    better = [item for item in whole if item is not own and item.gain_over(own, alpha)[1][0] > 0]
    if not better:
        return own
    best = max(better, key=lambda item: (item.right.sum(), -len(item.changes)))
    equal = [item for item in better if best.gain_over(item, alpha)[1][0] <= 0]
    fewest = min(item.cost for item in equal)
    return max((item for item in equal if item.cost == fewest), key=lambda item: item.right.sum())


class _Predictor:
    """Answers of one open session; pixels are decoded once for every way to the model's size."""

    outputs = 0

    def __init__(self, model: OnnxModel, images: Images, advance: Callable[[int], None]) -> None:
        self._model, self._images, self._advance = model, images, advance
        self._geometry: tuple[object, ...] = ()
        self._start = 0
        self._pixels = np.empty(0, np.uint8)
        if not images.fits(model.input_shape[1:]):
            raise ModelError(f"takes images of {model.input_shape[1:]}, {images.name} has {images.shape}",
                             where=model.file_name, fix="check images of the model's own size")

    def __enter__(self) -> _Predictor:
        self._open = OnnxRuntime().open(self._model, Device())
        self._session = self._open.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.__exit__(None, None, None)

    def __call__(self, view: View, start: int, end: int) -> NDArray[np.int64]:
        """The class of each image from `start` to `end`."""
        how = view.how
        geometry = (how.resize, how.share, how.interpolation, how.antialias)
        if geometry != self._geometry or start < self._start or end > self._start + len(self._pixels):
            wanted = self._images.take(np.arange(start, end)).seen_by(how)
            self._pixels, self._geometry, self._start = (
                np.concatenate([np.empty((0, *wanted.shape), np.uint8), *wanted.pixel_batches(BATCH)]), geometry, start)
        fixed, answers = self._model.input_shape[0], [np.empty(0, np.int64)]
        for first in range(start, end, fixed or BATCH):
            last = min(end, first + (fixed or BATCH))
            batch = tensor(self._pixels[first - self._start : last - self._start], how)
            logits = self._session.run(filled(batch, fixed))[: len(batch)]
            self.outputs = logits.shape[1]
            answers.append(logits.argmax(1))
            self._advance(len(batch))
        return np.concatenate(answers)
