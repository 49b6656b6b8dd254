"""What an export tells of its files beside their figures."""

from __future__ import annotations

from collections.abc import Sequence

from edge_se.backends.base import Device
from edge_se.backends.table import first_that_runs
from edge_se.core.artifacts import Artifact
from edge_se.core.progress import Progress
from edge_se.data import cifar10
from edge_se.data.dataset import Dataset
from edge_se.data.images import Images
from edge_se.evaluation.detective import likely_cause
from edge_se.evaluation.doubts import CHANCE, above_chance, doubts_of
from edge_se.evaluation.gate import ALPHA
from edge_se.graph.source import Source
from edge_se.quantization.chains import depthwise_swishes, without_kernel
from edge_se.quantization.lint.base import seen_in
from edge_se.quantization.lint.table import broken_by, rules_for, runtimes_for
from edge_se.quantization.sensitivity import between_layers, interleaved_medians
from edge_se.quantization.targets import TARGETS, Target
from edge_se.steps.export_files import Made

SURELY_FASTER = 0.75  # of FP32's time: one round says enough, where each takes seconds
SLOWER = 1.05  # within five percent is as fast
NOT_MEASURED = ("accuracy was not measured: CIFAR-10 is not here. Agreement with FP32 is on the calibration images.\n"
                "To measure it: " + cifar10.HOW_TO_GET)
UNTRAINED = ("untrained: the weights are random, so accuracy was not measured and agreement with FP32 says nothing. "
             "Structure, size and latency are those of the trained net.")


def warn_of_old_versions(made: Sequence[Made], progress: Progress) -> None:
    """Warns of each INT8 file that the oldest version promised by its target does not read or build."""
    for model in (item.model for item in made if item.model.target in TARGETS):
        for runtime, version in TARGETS[model.target].oldest.items():
            reason = TARGETS[model.target].runs_in(runtime, version, opset=model.opset)
            if reason:
                progress.note(f"{model.file_name} is not for every {runtime}: {reason}")
        chains = depthwise_swishes(model.proto) if TARGETS[model.target].oldest.get("tensorrt") == "8.5" else []
        if chains:
            progress.note(f"{model.file_name}: {without_kernel(chains)}")


def warn_of_slow(made: Sequence[Made], progress: Progress) -> None:
    """Warns of each INT8 file that is slower than FP32 in its own runtime, if that is installed."""
    for item in made:
        backend, _ = first_that_runs(item.model, Device()) if item.model.precision == "int8" else (None, [])
        if backend is None:
            continue
        fp32, int8 = interleaved_medians([made[0].model, item.model], backend, progress,
                                         settled=lambda medians: medians[1] < SURELY_FASTER * medians[0])
        if int8 > SLOWER * fp32:
            progress.note(f"{item.model.file_name} is slower than FP32 on this machine ({int8:.2f} against {fp32:.2f} "
                          f"ms, {backend.name}): {between_layers(item.model)}. `--placement auto` looks for a faster "
                          "one and refuses when there is none.")


def tell_of_broken_rules(made: Sequence[Made], progress: Progress) -> None:
    """Tells of each rule that an INT8 file breaks in the runtime of its own target: a fault of that target."""
    for model in (item.model for item in made if item.model.target in TARGETS):
        for rule, findings in broken_by(model, rules_for(runtimes_for([model.target]))):
            progress.note(f"{model.file_name}: {seen_in(rule.runtime, rule.versions)}: {rule.instead} (rule "
                          f"{rule.name}; {findings[0].node}, {len(findings)} in all). {rule.fix}")


def tell_of_no_ranges(targets: Sequence[Target], images: Images, progress: Progress) -> None:
    """Tells what the images are for where no file of `targets` is calibrated on them."""
    if targets and not any(target.calibrated for target in targets):
        progress.note(f"no calibration: files for {', '.join(target.name for target in targets)} take each image's own "
                      f"ranges as they run. {images.name} is for comparisons with FP32 alone")


def tell_of_doubts(artifacts: Sequence[Artifact], source: Source, progress: Progress) -> None:
    """Tells why the INT8 files of a trained net may be no good."""
    for item in artifacts:
        if item.precision == "int8" and not source.is_untrained:
            for doubt in doubts_of(item):
                progress.note(f"{item.file}: {doubt}")


def tell_of_cause(source: Source, fp32: Artifact, judged: Images, progress: Progress) -> None:
    """Tells why FP32 is right on few of the images that are `judged`, or that it is by chance alone."""
    assert judged.labels is not None
    labels, count = source.metadata.labels, len(judged)
    if cause := likely_cause(source.model, judged, fp32.top1, labels):
        progress.note(cause)
    elif fp32.top1 is not None and not above_chance(round(fp32.top1 * count / 100), judged.labels,
                                                    len(labels) or int(judged.labels.max()) + 1, ALPHA):
        progress.note(CHANCE)


def tell_of_accuracy(source: Source, dataset: Dataset | None, progress: Progress) -> None:
    """Tells why accuracy was not measured, if it could not be."""
    if source.is_untrained:
        progress.note(UNTRAINED)
    elif dataset is not None and not dataset.cifar:
        return
    elif not source.is_cifar10:
        progress.note(f"accuracy was not measured: {_no_figure(source)}. Agreement with FP32 is on the calibration "
                      "images. --data with labelled images of its classes measures it.")
    elif dataset is None:
        progress.note(NOT_MEASURED)


def _no_figure(source: Source) -> str:
    """Why the accuracy is unknown."""
    if source.metadata.labels:
        return "this is no CIFAR-10 classifier"
    return "nothing says which classes its outputs are (--labels FILE, or --labels cifar10, tells)"
