"""What findings cost: a file is run as it is written, by each runtime here, and as a runtime computes it instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Device
from edge_se.backends.openvino import OpenVino, installed
from edge_se.backends.tensorrt import PACKAGE, parse_check
from edge_se.core import environment
from edge_se.core.errors import EdgeSeError, ModelError
from edge_se.data.images import Images
from edge_se.data.splits import filled
from edge_se.device.agent import AgentError, OnnxRuntimeRunner
from edge_se.evaluation.accuracy import flips
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.as_written import EXACT_DB
from edge_se.quantization.lint.base import SIMULATED, Rule
from edge_se.quantization.sensitivity import sqnr_db

BATCH = 16
Floats = NDArray[np.float32]
Run = Callable[[Floats], Floats]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A runtime with one setting: SQNR in decibels (at most EXACT_DB) and flips of its logits against the file as it
    is written, or the words in which it refused the file.
    """

    runtime: str
    version: str | None
    setting: str
    sqnr_db: float | None = None
    flips: int | None = None
    refusal: str | None = None


class Proof:
    """The answers of a file as it is written, operator by operator in onnxruntime, to compare others with."""

    def __init__(self, model: OnnxModel, path: Path, images: Images) -> None:
        """ModelError, which names `path`, where onnxruntime does not run the file."""
        self._model, self._path, fixed = model, path, model.input_shape[0]
        self._batches = _batches(images, fixed, fixed or BATCH)
        try:
            self._reference = self._written(model)
        except ModelError:
            if fixed is not None:
                raise
            self._batches = _batches(images, 1, 1)  # a batch that is dynamic in name alone
            self._reference = self._written(model)

    def runs(self) -> list[Ran]:
        """Of each runtime that is installed; what is refused says so."""
        own = [self._ran("onnxruntime", "default", _onnxruntime(self._model.content)),
               self._ran("onnxruntime", "without WeightBiasQuantization",
                         _onnxruntime(self._model.content, without=("WeightBiasQuantization",)))]
        if installed():
            own += [self._ran("openvino", "hint f32", _openvino(self._model, "f32")),
                    self._ran("openvino", "its own hint", _openvino(self._model, None))]
        return own

    def instead(self, rule: Rule) -> Ran | None:
        """The file as the rule's runtime computes it instead; None where the rule does not say that in a graph."""
        if rule.computed is None:
            return None
        proto = self._model.copy()
        rule.computed(proto)
        return self._ran(rule.runtime, SIMULATED, _onnxruntime(OnnxModel.of(proto).content, as_written=True))

    def differs(self, other: OnnxModel) -> Ran:
        """Another file as it is written."""
        return self._ran("onnxruntime", "as written", _onnxruntime(other.content, as_written=True))

    def _written(self, model: OnnxModel) -> Floats:
        try:
            with _onnxruntime(model.content, as_written=True) as run:
                return self._answers(run)
        except AgentError as error:
            raise ModelError(error.what, where=self._path, fix=error.fix) from error

    def _answers(self, run: Run) -> Floats:
        try:
            return np.concatenate([run(batch)[:count] for batch, count in self._batches])
        except Exception as error:  # those of runtimes share no base class
            raise ModelError(f"does not run ({str(error).splitlines()[0]})", where=self._path,
                             fix="write the file again, or use --static") from error

    def _ran(self, runtime: str, setting: str, opened: AbstractContextManager[Run]) -> Ran:
        version = None if setting == SIMULATED else environment.version_of(runtime)
        try:
            with opened as run:
                own = np.nan_to_num(self._answers(run))
        except (AgentError, EdgeSeError) as error:
            return Ran(runtime=runtime, version=version, setting=setting, refusal=str(error).splitlines()[0])
        return Ran(runtime=runtime, version=version, setting=setting,
                   sqnr_db=round(min(EXACT_DB, sqnr_db(self._reference, own)), 1), flips=flips(own, self._reference))


def _batches(images: Images, fixed: int | None, size: int) -> list[tuple[Floats, int]]:
    """(what the graph takes, how many of it are images) for all of `images`."""
    return [(filled(batch, fixed), len(batch)) for batch in images.batches(size)]


def parsed(model: OnnxModel) -> Ran | None:
    """What TensorRT's parser says of a file; None where TensorRT for RTX is not installed."""
    if not environment.importable(PACKAGE):
        return None
    return Ran(runtime="tensorrt", version=environment.version_of("tensorrt-rtx"), setting="parser of TensorRT for RTX",
               refusal=parse_check(model))


@contextmanager
def _onnxruntime(content: bytes, *, as_written: bool = False, without: Sequence[str] = ()) -> Iterator[Run]:
    with closing(OnnxRuntimeRunner(content, 0, as_written=as_written, without=without)) as runner:
        yield runner.run


@contextmanager
def _openvino(model: OnnxModel, hint: str | None) -> Iterator[Run]:
    with OpenVino(hint).open(model, Device()) as session:
        yield session.run
