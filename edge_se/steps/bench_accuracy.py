"""Accuracies of a bench: from manifests, measured here, and those of a device, engine by engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Session
from edge_se.core.errors import EdgeSeError
from edge_se.core.progress import Progress
from edge_se.data import cifar10
from edge_se.data.dataset import find_dataset
from edge_se.data.images import Images, Labels
from edge_se.data.preprocessing import CIFAR10, Preprocessing
from edge_se.evaluation.accuracy import logits_of, predicted, share_of, top1
from edge_se.evaluation.baseline import packed
from edge_se.evaluation.judges import measured_by
from edge_se.evaluation.on_device import answers_of_all
from edge_se.graph.source import UNTRAINED
from edge_se.measure.timing import Latencies
from edge_se.steps.bench_rows import Accuracy, Entry
from edge_se.steps.export_images import outputs_of
from edge_se.steps.judged import judging

UNASKED_S = 120.0  # longer than that a bench measures accuracy on a device only when it is asked to
LINE = 5e6  # bytes a second of a slow network; images that are there already cost nothing, which nobody knows ahead


class Labelled:
    """The labelled images of each file: those of `data`, else CIFAR-10 for its classifiers."""

    def __init__(self, entries: Sequence[Entry], data: Path | None, skip_broken: bool, progress: Progress) -> None:
        self._of_cifar10 = [entry for entry in entries if entry.build.labels == cifar10.CLASSES]
        self._dataset = find_dataset(data, skip_broken=skip_broken) if data or self._of_cifar10 else None
        self._named = data is not None
        self._progress = progress
        self._seen = dict[tuple[Path, Preprocessing], tuple[Images, Labels]]()

    def of(self, entry: Entry) -> tuple[Images, Labels] | None:
        """None where no images judge the file; ArtifactError where its build was calibrated on them."""
        own = entry.model.metadata.preprocessing if entry.model.metadata else CIFAR10
        how = replace(own, labels=entry.build.labels)
        if self._dataset is None or not self._dataset.judges(how) or entry.build.source["kind"] == UNTRAINED:
            return None
        key = entry.build.folder, how
        if key not in self._seen:
            self._seen[key] = judging(entry.build, self._dataset, how, outputs_of(entry.model), self._progress)
        return self._seen[key]

    def unknown(self, entry: Entry) -> bool:
        """Whether the manifest's top-1 is none, or is of other images than those that were named."""
        if entry.artifact.top1 is None:
            return True
        told = entry.build.data if self._named else None
        given = self.of(entry) if told else None
        return told is not None and given is not None and given[0].sha256 != told.get("sha256")

    def missed(self) -> bool:
        """Whether CIFAR-10 would judge a file without a figure, and is not here."""
        return self._dataset is None and any(entry.artifact.top1 is None for entry in self._of_cifar10)


def accuracies(chosen: list[Entry], labelled: Labelled | None, progress: Progress) -> list[Accuracy]:
    """Top-1 of each file on this machine: from its manifest (same bytes), else measured where labelled images judge.

    It is measured, too, where other images were named than those of the manifest.
    With `labelled` None nothing is measured.
    """
    known = {entry.artifact.key: (entry.artifact.top1, entry.artifact.top1_n, entry.artifact.measured_by)
             for entry in chosen}
    if labelled is None:
        return [known[entry.artifact.key] for entry in chosen]
    if labelled.missed():
        progress.note("accuracy was not measured: " + cifar10.HOW_TO_GET)
    for key, entry in {entry.artifact.key: entry for entry in chosen if labelled.unknown(entry)}.items():
        if (given := labelled.of(entry)) is None:
            continue
        test, labels = given
        with progress.task(f"evaluating {entry.artifact.file} of {entry.build.model}", len(test)) as advance:
            logits = logits_of(entry.model, test, advance)
        known[key] = (top1(logits, labels), len(test), measured_by(entry.model))
    return [known[entry.artifact.key] for entry in chosen]


class Judging:
    """Asks the sessions that were timed on a device for the accuracy of their files.

    `wanted` None: where it takes less than UNASKED_S, as the latencies tell, and images that do not fit are a note.
    """

    def __init__(self, labelled: Labelled, wanted: bool | None, progress: Progress) -> None:
        self._labelled, self._wanted, self._progress = labelled, wanted, progress
        self._known, self._told = dict[tuple[tuple[str, str], str, int], dict[str, Any]](), set[str]()

    def of(self, timed: list[tuple[Entry, Session, Latencies]]) -> list[dict[str, Any]]:
        """More fields of the row of each session: one engine answers for each batch size, onnxruntime once for all."""
        keys = [(entry.artifact.key, entry.backend.name, latencies.batch if entry.backend.gpu else 0)
                for entry, _, latencies in timed]
        asked = {key: (*one, *given) for key, one in zip(keys, timed)
                 if self._wanted is not False and key not in self._known and (given := self._images(one[0]))}
        seconds = sum(len(images) / latencies.throughput for _, _, latencies, images, _ in asked.values())
        seconds += max((len(images) * float(np.prod(images.shape)) / LINE for *_, images, _ in asked.values()),
                       default=0.0)
        if self._wanted is None and seconds > UNASKED_S:
            self._progress.note(f"accuracy was not measured on the device, which would take some {seconds / 60:.0f} "
                                "minutes: --accuracy does it")
            asked = {}
        for key, (entry, session, latencies, images, labels) in asked.items():
            with self._progress.task(f"evaluating {entry.artifact.file} in {entry.backend.name} there",
                                     len(images)) as advance:
                logits = answers_of_all(session, entry.model, images, advance,
                                        latencies.batch if entry.backend.gpu else None)
            self._known[key] = _told(predicted(logits) == labels, images) | {
                "measured_by": entry.backend.measured_by(entry.model)}
        return [self._known.get(key, {}) for key in keys]

    def _images(self, entry: Entry) -> tuple[Images, Labels] | None:
        """Those of a file; a note says why there are none that are wanted or might be."""
        try:
            images = self._labelled.of(entry)
        except EdgeSeError as error:
            if self._wanted:
                raise
            images, why = None, str(error)
        else:
            why = f"{entry.build.model} has no labelled images here; give them with --data" if self._wanted else ""
        if images is None and why and why not in self._told:
            self._progress.note(f"accuracy was not measured on the device: {why}")
            self._told.add(why)
        return images


def _told(right: NDArray[np.bool_], images: Images) -> dict[str, Any]:
    """Which of all `images` were right, (N,), as fields of a measurement."""
    share, interval = share_of(right)
    return {"top1": share, "top1_ci": list(interval), "top1_n": len(right), "right": packed(right),
            "judged_on": {"name": images.name, "sha256": images.sha256}}
