"""Logits of a model on a set of images, computed once: they are cached by the hashes of both."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Backend, Session, whole_machine
from edge_se.core import environment
from edge_se.core.errors import ModelError
from edge_se.core.kept_logits import bound, keep, logits_folder, used
from edge_se.data.images import Images, Labels
from edge_se.evaluation.judges import judge_of
from edge_se.evaluation.statistics import drop_interval, pair, wilson_interval
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.targets.table import FLOAT, is_dynamic

BATCH = 16  # images of 32 x 32: what a layer of them computes stays in the cache of one core
PIXELS = BATCH * 32 * 32
NONE = -1  # the class of an image that is answered with NaN: no label
TOP = 5  # where a model has more classes, the label may be among its likeliest so many
Advance = Callable[[int], None]
Compute = Callable[[OnnxModel, Images, Backend, Advance], NDArray[np.float32]]


def computed(model: OnnxModel, images: Images, judge: Backend, advance: Advance) -> NDArray[np.float32]:
    """(N, classes) of `model` in the runtime `judge`, in this process, a batch on each of its processors.

    The bits depend on the batches, which are always the same (`batch_of`), and not on how many processors there are.
    """
    require_shape(model, images)
    with judge.open(model, whole_machine()) as session:
        return answers(session, model, images, advance)


def answers(session: Session, model: OnnxModel, images: Images, advance: Advance,
            batch: int | None = None) -> NDArray[np.float32]:
    """(N, classes) of an open session; a graph that takes any batch gets `batch` or else `batch_of` images at once."""
    fixed, found, answered = model.input_shape[0], np.empty((0, 0), np.float32), 0
    for logits in session.logits(images, fixed or batch or batch_of(images, model.target), fixed is not None):
        if not answered:  # one array: small ones that stay would break up the memory that batches need in turn
            found = np.empty((len(images), *logits.shape[1:]), np.float32)
        found[answered:][: len(logits)] = logits
        answered += len(logits)
        advance(len(logits))
    return found


def batch_of(images: Images, target: str = FLOAT) -> int:
    """How many of the images a batch has: a constant of their size, since the last bits of answers depend on it.

    It is 1 for a target whose files take ranges as they run, so that each image has its own in every runtime.
    """
    if is_dynamic(target):
        return 1
    height, width = images.preprocessing.size
    return max(1, min(BATCH, PIXELS // (height * width)))


@dataclass(frozen=True, kw_only=True)
class Drop:
    """Accuracy lost against a reference on `n` images, with its interval, as fractions, and predictions that differ."""

    n: int
    drop: float
    low: float
    high: float
    flips: int


def logits_of(model: OnnxModel, images: Images, advance: Advance = lambda images: None, *,
              judge: Backend | None = None, compute: Compute = computed) -> NDArray[np.float32]:
    """(N, classes) in the order of `images`, by `judge`, else the runtime that judges the file (`judge_of`).

    `compute` is asked for what the cache does not hold, and must give what `computed` gives, to the bit.
    A file that names its preprocessing gets that, whatever `images` says.
    The cache's key is everything the result depends on: the file, the images, their preprocessing and batches, the
    runtime's version, how it is asked (`Backend.revision`) and the processor's instruction sets. A file that cannot be
    written or read back is not used.
    """
    limit = bound()  # a wrong one is told before anything is computed
    if model.metadata:
        images = images.seen_by(model.metadata.preprocessing)
    judge = judge or judge_of(model)
    path = logits_folder() / f"{_key(model, images, judge)}.npy"
    cached = _read(path, len(images)) if path.is_file() else None
    if cached is not None:
        used(path)
        advance(len(images))
        return cached
    logits = compute(model, images, judge, advance)
    keep(path, _saved(logits), limit)
    return logits


def remember(model: OnnxModel, images: Images, logits: NDArray[np.float32]) -> None:
    """Keeps the (N, classes) that a run for another purpose computed where `logits_of` looks for them."""
    if model.metadata:
        images = images.seen_by(model.metadata.preprocessing)
    keep(logits_folder() / f"{_key(model, images, judge_of(model))}.npy", _saved(logits), bound())


def predicted(logits: NDArray[np.float32]) -> NDArray[np.intp]:
    """(N,) the likeliest class of each image, the first of equal ones; NONE where any of its logits is NaN."""
    return np.where(np.isnan(logits).any(1), NONE, logits.argmax(1))


def top1(logits: NDArray[np.float32], labels: Labels) -> float:
    """Top-1 accuracy in percent."""
    return 100.0 * float((predicted(logits) == labels).mean())


def share_of(right: NDArray[np.bool_], confidence: float = 0.95) -> tuple[float, tuple[float, float]]:
    """Percent of (N,) that are right, and its Wilson interval."""
    count = int(right.sum())
    low, high = wilson_interval(count, len(right), confidence)
    return 100 * count / len(right), (round(100 * low, 4), round(100 * high, 4))


def among_first(logits: NDArray[np.float32], labels: Labels, count: int) -> NDArray[np.bool_]:
    """(N,) whether the label is among the `count` likeliest classes; of equal ones the first counts as likelier.

    Classes of an image with a NaN among its logits have no order: it is not.
    """
    rows = np.arange(len(labels))
    own = logits[rows, labels][:, None]
    ahead = (logits > own).sum(1) + ((logits == own) & (np.arange(logits.shape[1]) < labels[:, None])).sum(1)
    return np.asarray((ahead < count) & ~np.isnan(logits).any(1))


def flips(logits: NDArray[np.float32], reference: NDArray[np.float32]) -> int:
    """How many predictions differ from the reference's."""
    return int((predicted(logits) != predicted(reference)).sum())


def drop_from(reference: NDArray[np.float32], logits: NDArray[np.float32], labels: Labels | None,
              alpha: float) -> Drop:
    """The paired drop and Tango's interval of it at confidence 1 - 2 alpha.

    Without labels the drop is unknown, but it cannot exceed the share of flips. That share and its Wilson interval
    are returned instead.
    """
    flipped = flips(logits, reference)
    if labels is None:
        low, high = wilson_interval(flipped, len(logits), 1 - 2 * alpha)
        return Drop(n=len(logits), drop=flipped / len(logits), low=low, high=high, flips=flipped)
    paired = pair(predicted(reference), predicted(logits), labels)
    low, high = drop_interval(paired, alpha)
    return Drop(n=paired.n, drop=paired.drop, low=low, high=high, flips=flipped)


def require_shape(model: OnnxModel, images: Images) -> None:
    """Raises ModelError unless the file takes images of this shape."""
    if not images.fits(model.input_shape[1:]):
        raise ModelError(f"takes images of {model.input_shape[1:]}, {images.name} has {images.shape}",
                         where=model.file_name, fix="give images of its own with --data")


def _key(model: OnnxModel, images: Images, judge: Backend) -> str:
    parts = (model.sha256, model.target, images.key, repr(replace(images.preprocessing, labels=())),
             str(batch_of(images, model.target)), judge.name, str(environment.version_of(judge.module)),
             str(judge.revision), *environment.cpu_flags())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _saved(logits: NDArray[np.float32]) -> bytes:
    content = io.BytesIO()
    np.save(content, logits)
    return content.getvalue()


def _read(path: Path, count: int) -> NDArray[np.float32] | None:
    try:
        logits = np.load(path, allow_pickle=False)
        fits = logits.dtype == np.float32 and logits.ndim == 2 and len(logits) == count
    except Exception:  # numpy, zipfile and tokenize each have their own ways to say "broken"
        return None
    return logits if fits else None
