"""How long candidates take on a machine: each in turns with a reference, so that their ratio has an interval.

One candidate is open at a time beside the reference: a small board has no memory for all of them, and what was timed
before a cut connection is whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Backend, Session
from edge_se.backends.machines.choice import Place
from edge_se.backends.machines.machine import Machine
from edge_se.backends.table import first_that_runs
from edge_se.core import environment
from edge_se.core.errors import CalibrationError, EdgeSeError, UnavailableError
from edge_se.core.progress import Advance, Progress
from edge_se.evaluation.statistics import median_ratio
from edge_se.graph.fp16 import to_fp16
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.targets.base import Target
from edge_se.graph.trial import random_input
from edge_se.measure.conditions import conditions_of
from edge_se.measure.layers import engine_of
from edge_se.measure.promise import promise_of
from edge_se.measure.timing import TimingPlan
from edge_se.quantization.candidates import Candidate
from edge_se.quantization.sensitivity import between_layers

ROUNDS = 9  # of nine ratios the 95 % interval is from the second to the eighth: one disturbed turn does not widen it
PLAN = TimingPlan(min_duration=0.0, min_runs=15, warmup=0.01)
GPU_PLAN = TimingPlan(min_duration=0.05, min_runs=100, warmup=0.05)  # an inference takes microseconds
LOCKED = {True: "clocks locked", False: "clocks not locked", None: "clocks unknown"}


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Medians of the turns in milliseconds, and the median ratio to the reference with its 95 % interval.

    `int8_mac_share_engine` is None where the runtime tells nothing of its layers (edge_se.measure.promise).
    """

    p50_ms: float
    reference_ms: float
    ratio: float
    ratio_ci: tuple[float, float]
    int8_mac_share_engine: float | None


class Track:
    """A machine and its runtime for files of one target, with the reference of their ratios open in it.

    On a GPU that is FP16, which anybody would deploy there instead of INT8, elsewhere FP32.
    """

    def __init__(self, machine: Machine, backend: Backend, reference: OnnxModel, session: Session) -> None:
        self._machine, self._backend, self._session = machine, backend, session
        self._plan, self.reference = GPU_PLAN if backend.gpu else PLAN, reference.precision
        batch, *sizes = reference.input_shape
        self._feed: NDArray[np.float32] = random_input((batch or 1, *(size or 32 for size in sizes)),
                                                       reference.input_dtype)

    def conditions(self) -> str:
        """The machine, the runtime, its power mode and clocks: times under others are not taken for these."""
        told = self._machine.facts.get("runtimes", {}).get(self._backend.name, {})
        state = self._machine.state()
        found = conditions_of(state, state, ())
        version = told.get("version") or environment.version_of(self._backend.module)
        gpu = (self._machine.facts.get("gpu") or {}).get("name") if self._backend.gpu else None
        return ", ".join(part for part in (
            self._machine.facts["name"], gpu, f"{self._backend.name} {version}", found.power_mode,
            LOCKED[found.clocks_locked]) if part)

    def time(self, model: OnnxModel, advance: Advance) -> Timed:
        """Times `model` in ROUNDS turns; in every other one the reference comes second."""
        own, others = list[float](), list[float]()
        with self._backend.open(model, self._machine.device) as session:
            for turn in range(ROUNDS):
                pair = [(self._session, others), (session, own)]
                for opened, medians in pair if turn % 2 else reversed(pair):
                    medians.append(opened.time(self._feed, self._plan).percentile(50))
                advance(1)
            share = self._int8_share(model, session)
        found = median_ratio(own, others)
        assert found["ratio"] is not None and found["low"] is not None and found["high"] is not None  # nine turns
        return Timed(p50_ms=float(np.median(own)), reference_ms=float(np.median(others)), ratio=found["ratio"],
                     ratio_ci=(found["low"], found["high"]), int8_mac_share_engine=share)

    def _int8_share(self, model: OnnxModel, session: Session) -> float | None:
        """None where the layers are not told in a form that is known: they decide nothing here."""
        profile = session.profile(self._feed) if self._backend.gpu else None
        try:
            return promise_of(model.proto, engine_of(profile["layers"], profile["profile"])).share if profile else None
        except EdgeSeError:
            return None


def runtime_there(model: OnnxModel, target: Target, machine: Machine) -> tuple[Backend | None, list[str]]:
    """What would run `model` in INT8 for `target` on `machine`, or None and each runtime's reason."""
    planned = OnnxModel(content=model.content, precision="int8", target=target.name)
    return first_that_runs(planned, machine.device, machine.backends)


@contextmanager
def on_track(machine: Machine, backend: Backend, model: OnnxModel) -> Iterator[Track]:
    """`model` is the FP32 graph that all candidates are made from."""
    reference = to_fp16(model) if backend.gpu else model
    with backend.open(reference, machine.device) as session:
        yield Track(machine, backend, reference, session)


class Race:
    """Candidates of one target on the machine that times them, until the time is up."""

    def __init__(self, model: OnnxModel, graphs: Mapping[str, OnnxModel], target: Target, ends: float | None,
                 progress: Progress) -> None:
        self._model, self._graphs, self._target, self._ends, self._progress = model, graphs, target, ends, progress

    def run(self, where: Place, rows: dict[str, Candidate],
            keep: Callable[[dict[str, Candidate]], None]) -> dict[str, Candidate]:
        """The rows with their times, most promising first; `keep` gets them after each."""
        with where.open(self._progress) as machine:
            backend, reasons = runtime_there(self._model, self._target, machine)
            if backend is None:
                raise CalibrationError(f"{machine.facts['name']} does not run its files: {'; '.join(reasons)}",
                                       where=f"--device, target {self._target.name}",
                                       fix="choose another --target, or leave --device out")
            with on_track(machine, backend, self._model) as track:
                rows = self._timed(track, rows, keep)
        self._require_faster(list(rows.values()), "this machine" if where.here else machine.facts["name"])
        return rows

    def _timed(self, track: Track, rows: dict[str, Candidate],
               keep: Callable[[dict[str, Candidate]], None]) -> dict[str, Candidate]:
        conditions = track.conditions()
        rows = {sha256: row if row.timed_on == conditions and row.refused is None else row.untimed()
                for sha256, row in rows.items()}  # what was refused for want of memory may run now
        left = sorted((row for row in rows.values() if row.timed_on is None),
                      key=lambda row: (not row.within_budget, row.flips))
        with self._progress.task(f"timing {len(left)} placements for {self._target.name} on {conditions}",
                                 ROUNDS * len(left)) as advance:
            for position, row in enumerate(left):
                if self._ends is not None and time.monotonic() > self._ends and any(
                        other.ratio is not None for other in rows.values()):
                    self._progress.note(f"time budget spent: {len(left) - position} candidates were not timed")
                    break
                rows[row.sha256] = self._one(track, conditions, row, advance)
                keep(rows)
        return rows

    def _one(self, track: Track, conditions: str, row: Candidate, advance: Advance) -> Candidate:
        """A candidate that the machine refuses does not end the search: an engine may not be built of it."""
        try:
            found = track.time(self._graphs[row.sha256], advance)
        except UnavailableError:
            raise
        except EdgeSeError as error:
            self._progress.note(f"{row.name} does not run there: {error}")
            return replace(row, timed_on=conditions, refused=error.what)
        return replace(row, **vars(found), reference=track.reference, timed_on=conditions)

    def _require_faster(self, rows: list[Candidate], machine: str) -> None:
        timed = [row for row in rows if row.ratio is not None]
        if not timed:
            raise CalibrationError(f"none of its placements runs on {machine}: {rows[0].refused}",
                                   where=f"--placement auto, target {self._target.name}",
                                   fix="choose another --target, or deploy FP16 or FP32 there")
        fastest = min(timed, key=lambda row: row.order)
        if fastest.order >= 1:
            name = (fastest.reference or "").upper()
            raise CalibrationError(
                f"no placement is faster than {name} on {machine} ({fastest.p50_ms:.2f} against "
                f"{fastest.reference_ms:.2f} ms): {between_layers(self._graphs[fastest.sha256])}",
                where=f"--placement auto, target {self._target.name}",
                fix=f"use the {name} file, another --target, or name a placement to get the INT8 file all the same")
