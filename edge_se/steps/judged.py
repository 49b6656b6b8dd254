"""The labelled images that a build is judged on: CIFAR-10's, or the user's own."""

from __future__ import annotations

from dataclasses import replace

from edge_se.core.artifacts import Build, check_file, not_cifar10
from edge_se.core.errors import ArtifactError
from edge_se.core.progress import Progress
from edge_se.data import cifar10
from edge_se.data.dataset import Dataset
from edge_se.data.images import Images, Labels
from edge_se.data.leaks import require_not_calibrated_on
from edge_se.data.preprocessing import CIFAR10, Preprocessing
from edge_se.graph.onnx_model import OnnxModel
from edge_se.steps.export_images import outputs_of, tell_of_skipped


def judged_images(build: Build, dataset: Dataset, what: str, progress: Progress) -> tuple[Build, Images]:
    """The images to judge on, and the build with names of its classes.

    The names may be those of the data set. `what` judges, for messages. Raises ArtifactError for a build without an
    FP32 file, for one that CIFAR-10, found by default, says nothing of, and for one calibrated on these images.
    """
    fp32 = build.find("fp32")
    if fp32 is None:
        raise ArtifactError("holds no FP32 file to compare with", where=build.folder, fix="export again")
    model = OnnxModel.read(check_file(build, fp32))
    how = model.metadata.preprocessing if model.metadata else CIFAR10
    if dataset.cifar and build.labels != cifar10.CLASSES:
        raise ArtifactError(f"{not_cifar10(build)}, and {what} on CIFAR-10", where=build.folder,
                            fix="give labelled images of its classes with --data; --labels cifar10 of `edge-se export` "
                                "says that a file is a CIFAR-10 classifier")
    outputs = outputs_of(model)
    images, labels = judging(build, dataset, how, outputs, progress)
    count = outputs or int(labels.max()) + 1
    numbers = tuple(str(index) for index in range(count))
    return replace(build, labels=how.labels or dataset.labels or dataset.classes or numbers), images


def judging(build: Build, dataset: Dataset, how: Preprocessing, outputs: int | None,
            progress: Progress) -> tuple[Images, Labels]:
    """The images of `dataset` that a file of `build` with this preprocessing is judged on, and their labels.

    How many broken ones were left out is told. Raises DataError where there are none, and ArtifactError where the build
    was calibrated on them.
    """
    images = dataset.judged(how, outputs)
    tell_of_skipped(images, progress)
    require_not_calibrated_on((build.calibration or {}).get("contents"), images, build.folder)
    assert images.labels is not None
    return images, images.labels
