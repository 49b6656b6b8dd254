"""One run of `bench`: which runtime takes which file, all of them, also of several builds, timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Backend, Device, Session
from edge_se.backends.fresh import measure_fresh
from edge_se.backends.machines.choice import Web
from edge_se.backends.machines.machine import Machine
from edge_se.backends.table import BACKENDS, first_that_runs
from edge_se.core.artifacts import Artifact, Build, check_file
from edge_se.core.environment import cpu_count
from edge_se.core.errors import ArtifactError, EdgeSeError, did_you_mean
from edge_se.core.progress import Progress
from edge_se.data import calibration as calibration_sets
from edge_se.evaluation.accuracy import flips, logits_of
from edge_se.graph.image_input import image_facts
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.trial import random_input
from edge_se.measure.conditions import conditions_of
from edge_se.measure.power import energy_per_inference, mean_power
from edge_se.measure.referee import referee, require_referee
from edge_se.measure.streams import measure_streams
from edge_se.measure.timing import Latencies, TimingPlan, order_of_turn
from edge_se.steps.bench_accuracy import Judging
from edge_se.steps.bench_rows import CHECK_IMAGES, LATENCY, SCENARIOS, THROUGHPUT, Entry, Measured

# Each model is timed in this many turns, so that drift of the machine hits all alike. Of nine paired ratios the 95 %
# interval is from the second to the eighth, so that one disturbed turn on either side does not widen it.
ROUNDS = 9
RUNS = 108  # at least, of all turns together
GPU_RUNS = 1000  # of an engine, which takes microseconds
IDLE_S = 3.0
QUICK_S = 0.2  # below it somebody takes a quick look: no fresh processes then

Timer = Callable[[TimingPlan], Latencies]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to measure; in `threads` 0 means all processors of the device.

    Without `threads`, latency is measured on one thread and throughput with as many streams as there are processors.
    `fresh` None: fresh processes on this machine's CPU, unless `min_duration` is below QUICK_S. `accuracy` says whether
    a device is asked for it; None: where labelled images are at hand and it takes little time. False: it is not
    measured here, either. `web` is how `--device web` reaches its page.
    """

    backend: str = "auto"
    batches: tuple[int, ...] = (1,)
    threads: tuple[int, ...] | None = None
    scenarios: tuple[str, ...] = (LATENCY,)
    min_duration: float = 2.0
    explain: bool = False
    fresh: bool | None = None
    referee: bool = False
    accuracy: bool | None = None
    host: str | None = None
    python: str | None = None
    web: Web | None = None

    def require_possible(self, here: bool) -> None:
        """Raises EdgeSeError for options that only this machine can follow, or that need a missing package."""
        for scenario in self.scenarios or ("",):
            if scenario not in SCENARIOS:
                raise EdgeSeError(f"unknown scenario '{scenario}'", where="--scenario",
                                  fix=did_you_mean(scenario, SCENARIOS))
        only_here = {"--scenario throughput": THROUGHPUT in self.scenarios, "--fresh": bool(self.fresh),
                     "--referee": self.referee}
        for name, wanted in only_here.items():
            if wanted and not here:
                raise EdgeSeError("is measured on this machine's CPU only", where=name, fix="use --device cpu")
        if here and self.accuracy:
            raise EdgeSeError("is for a device: here accuracy is measured wherever labelled images are",
                              where="--accuracy", fix="leave it out with --device cpu")
        if self.referee:
            require_referee()

    def conditions(self) -> Iterator[tuple[str, int]]:
        """Each scenario with each number of threads."""
        for scenario in self.scenarios:
            for threads in self.threads or ((1,) if scenario == LATENCY else (0,)):
                yield scenario, threads


class Run:
    """All files on one machine, from its state before to its state after."""

    def __init__(self, machine: Machine, options: Options, progress: Progress) -> None:
        self._machine, self._options, self._progress = machine, options, progress
        self._conditions: dict[str, Any] = {}
        self._notes = set[str]()
        known = ("auto", "all", *machine.backends)
        if options.backend not in known:
            raise EdgeSeError(f"unknown backend '{options.backend}'", where="--backend",
                              fix=did_you_mean(options.backend, known))
        self._all = options.backend == "all"
        self._fresh = (machine.device.kind == "cpu" and options.min_duration >= QUICK_S if options.fresh is None
                       else options.fresh)

    def entries(self, build: Build, artifacts: list[Artifact]) -> list[Entry]:
        """Each file with its runtime. A file for every target is timed in each runtime that another file needs."""
        files = [(artifact, OnnxModel.read(check_file(build, artifact), precision=artifact.precision,
                                           target=artifact.target)) for artifact in artifacts]
        if self._all:
            return self._required(build, self._in_all(build, files), [])
        own = [(artifact, model, *self._backend_for(model)) for artifact, model in files]
        used = list(dict.fromkeys(backend for _, model, backend, _ in own if backend and model.target != "any"))
        entries, missed = list[Entry](), list[str]()
        for artifact, model, backend, reasons in own:
            if backend is None:
                missed += reasons
                self._note(f"{artifact.file}: not timed: {'; '.join(reasons)}")
                continue
            entries += [Entry(build=build, artifact=artifact, model=model, backend=runtime)
                        for runtime in (used if used and model.target == "any" else [backend])]
        return self._required(build, entries, missed)

    def _note(self, text: str) -> None:
        """Tells a note; one that holds for several builds is told once."""
        if text not in self._notes:
            self._progress.note(text)
        self._notes.add(text)

    def _required(self, build: Build, entries: list[Entry], reasons: list[str]) -> list[Entry]:
        if not entries:
            why = "; ".join(dict.fromkeys(reasons))
            raise ArtifactError("none of its files runs there" + (f": {why}" if why else ""),
                                where=build.folder, fix="install a runtime, or export for this device")
        return entries

    def _in_all(self, build: Build, files: list[tuple[Artifact, OnnxModel]]) -> list[Entry]:
        """Each file in each runtime that can run it. Notes tell why a runtime cannot, and which are not installed."""
        entries, refused, absent = list[Entry](), dict[tuple[str, str], list[str]](), list[str]()
        for name, backend in self._machine.backends.items():
            if backend.missing():
                absent.append(name)
                continue
            reasons = [(artifact, model, backend.why_not(model, self._machine.device)) for artifact, model in files]
            entries += [Entry(build=build, artifact=artifact, model=model, backend=backend)
                        for artifact, model, reason in reasons if reason is None]
            for artifact, _, reason in reasons:
                if reason is not None:
                    refused.setdefault((name, reason.removeprefix(f"{artifact.file}: ")), []).append(artifact.file)
        for (name, reason), names in refused.items():
            which = "all files" if len(names) == len(files) else ", ".join(names)
            self._note(f"{name}: not timed: {which}: {reason}")
        if absent:
            self._note(f"not here, so not timed: {', '.join(absent)} (`--backend NAME` tells what brings one)")
        return sorted(entries, key=lambda entry: [entry.artifact.file == artifact.file for artifact, _ in files],
                      reverse=True)

    def _backend_for(self, model: OnnxModel) -> tuple[Backend | None, list[str]]:
        if self._options.backend == "auto":
            return first_that_runs(model, self._machine.device, self._machine.backends)
        backend = self._machine.backends[self._options.backend]
        reason = backend.why_not(model, self._machine.device)
        return (None, [reason]) if reason else (backend, [])

    def measure(self, entries: list[Entry], judging: Judging | None = None) -> list[Measured]:
        """Every file under all conditions; energy where the machine tells its power, accuracy by `judging`."""
        batches = self._options.batches
        for model in (entry.model for entry in entries):
            fixed = model.input_shape[0]
            if fixed is not None and batches != (fixed,):
                raise EdgeSeError(f"the graph has a fixed batch of {fixed}", where=model.file_name,
                                  fix=f"use --batch {fixed}")
        before, resting = self._machine.state(), mean_power(self._machine.idle(IDLE_S))
        measured = list[Measured]()
        for scenario, threads in self._options.conditions():
            measured += self._under(scenario, threads, entries, resting, judging)
        samples = [sample for item in measured for sample in item.latencies.power]
        self._conditions = asdict(conditions_of(before, self._machine.state(), samples)) | {
            "clocks_hz": before.get("clocks_hz")}
        if not measured:
            folders = dict.fromkeys(str(entry.build.folder) for entry in entries)
            raise ArtifactError("none of its files runs there", where=", ".join(folders),
                                fix="install a runtime, or export for this device")
        return [replace(item, beside=item.beside | self._in_a_fresh_process(item))
                for item in measured]

    def told(self) -> dict[str, Any]:
        """The device and the conditions of the run, for the document."""
        return {key: value for key, value in self._machine.facts.items() if key != "flags"} | self._conditions

    def _under(self, scenario: str, threads: int, entries: list[Entry], resting: Any,
               judging: Judging | None) -> list[Measured]:
        measured, timed = list[Measured](), list[tuple[Entry, Session, Latencies]]()
        with ExitStack() as stack:
            opened = self._opened(stack, scenario, threads, entries)
            for batch in self._options.batches:
                feeds = [_feed(entry.model, batch) for entry, _ in opened]
                timers = [_timer(scenario, sessions, feed) for (_, sessions), feed in zip(opened, feeds)]
                for (entry, sessions), feed, latencies in zip(opened, feeds, self._interleaved(
                        f"timing {scenario}, batch {batch}, threads {threads or 'all'}", opened, timers)):
                    energy = energy_per_inference(mean_power(latencies.power), resting,
                                                  latencies.seconds_per_inference)
                    session = sessions[0]
                    timed.append((entry, session, latencies))
                    measured.append(Measured(
                        entry=entry, scenario=scenario, threads=threads, latencies=latencies, energy=asdict(energy),
                        flips=self._flips(entry, session),
                        engine=session.engine(batch),
                        profile=session.profile(feed) if self._options.explain else None,
                        beside=session.tells() | self._referee(scenario, session, feed, latencies)))
            told = judging.of(timed) if judging else [{}] * len(measured)  # the same sessions, after all timing
        return [replace(item, beside=item.beside | more) for item, more in zip(measured, told)]

    def _opened(self, stack: ExitStack, scenario: str, threads: int,
                entries: list[Entry]) -> list[tuple[Entry, list[Session]]]:
        """The sessions of each file; for throughput, one session of one thread for each stream.

        With `all` a file that does not load or run gets a note, since nobody asked for that runtime by name.
        """
        streams = 1 if scenario == LATENCY else threads or cpu_count()
        device: Device = replace(self._machine.device, threads=threads if scenario == LATENCY else 1, streams=streams)
        pairs = []
        for entry in entries:
            try:
                with ExitStack() as own:
                    sessions = [own.enter_context(entry.backend.open(entry.model, device)) for _ in range(streams)]
                    if self._all:
                        sessions[0].run(_feed(entry.model, self._options.batches[0]))
                    stack.push(own.pop_all())
                pairs.append((entry, sessions))
            except EdgeSeError as error:
                if not self._all:
                    raise
                self._progress.note(f"{entry.backend.name}: not timed: {error}")
        return pairs

    def _interleaved(self, what: str, opened: list[tuple[Entry, list[Session]]],
                     timers: list[Timer]) -> list[Latencies]:
        """Times all files in turn, ROUNDS times, and joins each one's samples."""
        parts: list[list[Latencies]] = [[] for _ in timers]
        plan = TimingPlan(min_duration=self._options.min_duration / ROUNDS, min_runs=RUNS // ROUNDS)
        with self._progress.task(what, ROUNDS * len(timers)) as advance:
            for turn in range(ROUNDS):
                for position in order_of_turn(turn, len(timers)):
                    gpu = opened[position][0].backend.gpu
                    # The other models' turns pushed this one out of the caches.
                    own = replace(plan, min_runs=-(-GPU_RUNS // ROUNDS) if gpu else plan.min_runs,
                                  warmup=plan.warmup if turn == 0 else min(plan.warmup, 0.05))
                    parts[position].append(timers[position](own))
                    advance(1)
        return [Latencies.joined(own) for own in parts]

    def _flips(self, entry: Entry, session: Session) -> int | None:
        """Answers on the bundled images that differ from onnxruntime's on this CPU; None for that runtime itself."""
        if not entry.backend.compared or image_facts(entry.model.proto).size != (32, 32):
            return None
        images = calibration_sets.load(calibration_sets.SYNTHETIC, None).first(CHECK_IMAGES)
        if entry.model.metadata:
            images = images.seen_by(entry.model.metadata.preprocessing)
        there = np.concatenate([session.run(batch) for batch in images.batches(64)])
        return flips(there, logits_of(entry.model, images, judge=BACKENDS["onnxruntime"]))

    def _referee(self, scenario: str, session: Session, feed: NDArray[np.float32],
                 latencies: Latencies) -> dict[str, Any]:
        """`referee` of a row: what LoadGen finds with the same session."""
        if not self._options.referee or scenario != LATENCY:
            return {}
        times = referee(lambda: session.run(feed), seconds=self._options.min_duration, batch=len(feed))
        return {"referee": times.document() | {"p90_ratio": latencies.percentile(90) / times.p90_ms}}

    def _in_a_fresh_process(self, item: Measured) -> dict[str, Any]:
        """Memory and first times of a row; nothing, with a note, where the process fails."""
        if not self._fresh or item.scenario != LATENCY:
            return {}
        feed = _feed(item.entry.model, item.latencies.batch)
        with self._progress.task(f"{item.entry.model.file_name} in a fresh process", 1) as advance:
            try:
                fresh = measure_fresh(item.entry.backend.name, item.entry.model, threads=item.threads,
                                      shape=feed.shape, dtype=str(feed.dtype))
            except EdgeSeError as error:
                self._progress.note(str(error))
                return {}
            advance(1)
        return fresh


def _timer(scenario: str, sessions: list[Session], feed: NDArray[np.float32]) -> Timer:
    if scenario == LATENCY:
        return lambda plan: sessions[0].time(feed, plan)
    calls: list[Callable[[], object]] = [lambda session=session: session.run(feed) for session in sessions]  # type: ignore[misc]
    return lambda plan: measure_streams(calls, plan, batch=len(feed))


def _feed(model: OnnxModel, batch: int) -> NDArray[np.float32]:
    shape = (batch, *(size or 32 for size in model.input_shape[1:]))
    feed: NDArray[np.float32] = random_input(shape, model.input_dtype)
    return feed
