"""A runtime of a device as the judge of a build's files, each paired with its own answers in onnxruntime here."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Backend, Device, Session
from edge_se.backends.table import BACKENDS
from edge_se.data.images import Images, Labels
from edge_se.evaluation.accuracy import Advance, answers, logits_of, require_shape, share_of
from edge_se.evaluation.sequential import parts
from edge_se.evaluation.statistics import drop_interval, mcnemar_p, pair, wilson_interval
from edge_se.graph.onnx_model import OnnxModel

HERE = BACKENDS["onnxruntime"]
ENGINE_BATCH = 1  # an engine is built for one batch size: this is what a bundle serves
Predictions = NDArray[np.intp]


class OnDevice:
    """One session for each file, open until `stack` closes: all looks ask the same engine."""

    def __init__(self, backend: Backend, device: Device, stack: ExitStack) -> None:
        self._backend, self._device, self._stack = backend, device, stack
        self._sessions = dict[tuple[str, str], Session]()

    def logits(self, model: OnnxModel, images: Images, advance: Advance, *, whole: bool) -> NDArray[np.float32]:
        """(N, classes) in the order of `images`, which are all or those of a look; nothing of it is kept.

        An engine may be built anew, and answers otherwise then.
        """
        if model.metadata:
            images = images.seen_by(model.metadata.preprocessing)
        require_shape(model, images)
        key = model.sha256, model.target  # files for two targets may be the same to the byte, and open otherwise
        if key not in self._sessions:
            self._sessions[key] = self._stack.enter_context(self._backend.open(model, self._device))
        ask = answers_of_all if whole else answers
        return ask(self._sessions[key], model, images, advance, ENGINE_BATCH if self._backend.gpu else None)

    def here(self, model: OnnxModel, images: Images, advance: Advance) -> NDArray[np.float32]:
        """The same of the same file in onnxruntime on this machine."""
        return logits_of(model, images, advance, judge=HERE)

    def measured_by(self, model: OnnxModel) -> dict[str, Any]:
        """`measured_by` of what `logits` gives."""
        return self._backend.measured_by(model)


def answers_of_all(session: Session, model: OnnxModel, images: Images, advance: Advance,
                   batch: int | None = None) -> NDArray[np.float32]:
    """`answers` to all images, in the parts that a sequential gate looks at: either finds there what the other sent."""
    places = parts(len(images))
    found = np.concatenate([answers(session, model, images.take(part), advance, batch) for part in places])
    logits = np.empty_like(found)
    logits[np.concatenate(places)] = found
    return logits


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Predicted classes of one file, (n,) each: on the device, and in onnxruntime on this machine."""

    there: Predictions
    here: Predictions
    measured_by: dict[str, Any]


def compared(labels: Labels, alpha: float, int8: Answers, fp32: Answers, fp16: Answers | None = None) -> dict[str, Any]:
    """`on_device` of a file's row: INT8, FP32 and, where there is one, FP16 of a device on the same images, paired.

    A drop's interval ends are one-sided bounds at `alpha`, those of a share of flips 95 % of Wilson's.
    """
    row = _told(int8, labels) | {"fp32": _told(fp32, labels)}
    if fp16 is not None:
        row["fp16"] = _told(fp16, labels) | {"measured_by": fp16.measured_by,
                                             "against_fp32": _paired(fp32, fp16, labels, alpha)}
        row["against_fp16"] = _paired(fp16, int8, labels, alpha)
    return row


def _told(given: Answers, labels: Labels) -> dict[str, Any]:
    top1, interval = share_of(given.there == labels)
    count, n = int((given.there != given.here).sum()), len(labels)
    low, high = wilson_interval(count, n)
    return {"top1": top1, "top1_ci": list(interval), "top1_here": share_of(given.here == labels)[0],
            "runtime_flips": {"flips": count, "n": n, "pct": 100 * count / n, "ci_pct": [100 * low, 100 * high]}}


def _paired(reference: Answers, given: Answers, labels: Labels, alpha: float) -> dict[str, Any]:
    counts = pair(reference.there, given.there, labels)
    low, high = drop_interval(counts, alpha)
    return {"n": counts.n, "broken": counts.broken, "fixed": counts.fixed, "drop_pp": 100 * counts.drop,
            "ci_pp": [100 * low, 100 * high], "mcnemar_p": mcnemar_p(counts)}
