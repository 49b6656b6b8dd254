"""What a net trains on, is chosen by and is judged on: CIFAR-10, or the user's own images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge_se.core.errors import DataError, TrainingError
from edge_se.core.progress import SILENT, Progress
from edge_se.core.recipes import Recipe
from edge_se.data import cifar10, splits
from edge_se.data.classes import require_every_class
from edge_se.data.contents import TRAIN
from edge_se.data.dataset import Dataset
from edge_se.data.images import Images, drawn
from edge_se.data.leaks import copies
from edge_se.data.preprocessing import CIFAR10, Preprocessing
from edge_se.nets.spec import ModelSpec
from edge_se.steps.export_images import tell_of_skipped

COUNTED = 5_000  # training images that mean and standard deviation are taken of, as many of each class as can be


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """A net and a recipe that fit the images, and the images by what they are for.

    `test` reads those that the final figures are of, None where there are none. `described` is what the card says of
    the user's data set, None for CIFAR-10.
    """

    spec: ModelSpec
    recipe: Recipe
    images: Images
    validation: Images
    test: Callable[[], Images] | None
    preprocessing: Preprocessing
    described: dict[str, Any] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes in order."""
        return self.preprocessing.labels


def training_data(spec: ModelSpec, recipe: Recipe, dataset: Dataset | None, input_size: int | None = None, *,
                  progress: Progress = SILENT) -> TrainingData:
    """`dataset` for `spec` by `recipe`: CIFAR-10, which is asked for where there is none, or images in any layout.

    With the user's own images the net has as many classes as they have and takes `input_size` pixels (its own by
    default); the recipe's phases, translation and holes grow with it. Raises DataError for images that cannot be
    trained on, TrainingError for a net or a size that does not fit CIFAR-10.
    """
    if dataset is None or dataset.cifar:
        return _of_cifar10(spec, recipe, None if dataset is None else dataset.cifar, input_size)
    size = spec.input_size if input_size is None else input_size
    sized = recipe.sized(size)
    images = _normalised(_training_images(dataset, size), progress)
    how = images.preprocessing
    if not how.labels and images.labels is not None and len(images):
        how = replace(how, labels=tuple(str(label) for label in range(int(images.labels.max()) + 1)))
    _require_classes(dataset, images, how.labels)
    validation = dataset.held_out(how, len(how.labels))
    if validation is None:
        raise DataError("has no images to choose the best epoch on", where=dataset.path,
                        fix="add a validation split, or more images: a tenth of them is taken for it")
    test = None if dataset.judging is None else dataset.judged(how, len(how.labels))
    for own in (images, validation, test):
        if own is not None:
            tell_of_skipped(own, progress)
    if test is not None:
        _require_readable(test, progress)
    for own in (validation, test):
        if own is not None and (count := copies(images, own)):
            progress.note(f"{own.name}: {count} of its {len(own)} images are trained on, too; what is measured on them "
                          "says nothing of new images")
    return TrainingData(
        spec=replace(spec, classes=len(how.labels), input_size=size), recipe=sized, images=images,
        validation=validation, preprocessing=how,
        test=None if test is None else lambda: test,
        described={"name": dataset.name, "layout": dataset.layout, "classes": len(how.labels)})


def _of_cifar10(spec: ModelSpec, recipe: Recipe, found: cifar10.Cifar10 | None,
                input_size: int | None) -> TrainingData:
    if spec.classes != len(cifar10.CLASSES):
        raise TrainingError(f"has {spec.classes} classes, and CIFAR-10 {len(cifar10.CLASSES)}", where=spec.name,
                            fix="choose another net: `edge-se models list`")
    if input_size is not None:
        raise TrainingError("CIFAR-10 is trained at the sizes that the recipe says", where="--input-size",
                            fix="leave --input-size out, or give a recipe with other phases")
    cifar = found or cifar10.require()
    return TrainingData(spec=spec, recipe=recipe, images=splits.load("train", cifar),
                        validation=splits.load("validation", cifar), test=lambda: splits.load("test", cifar),
                        preprocessing=CIFAR10)


def _training_images(dataset: Dataset, size: int) -> Images:
    if TRAIN not in dataset.splits:
        raise DataError(f"has no training images, only {', '.join(dataset.splits)}", where=dataset.path,
                        fix="add a split named train")
    how = Preprocessing(size=(size, size), mean=(0.0,) * 3, std=(1.0,) * 3, labels=dataset.classes)
    images = dataset.split(TRAIN, how)
    if not len(images):
        raise DataError("has no training image", where=dataset.path, fix="add images")
    return images


def _normalised(images: Images, progress: Progress) -> Images:
    """`images` with the mean and the standard deviation of each channel over COUNTED of them."""
    assert images.labels is not None
    measured = images.take(drawn(images.labels, COUNTED, 0))
    sums, squares, count = np.zeros(3), np.zeros(3), 0
    with progress.task("measuring mean and standard deviation", len(measured)) as advance:
        for batch in measured.pixel_batches(64):
            values = batch.astype(np.float64) / 255
            sums, squares = sums + values.sum((0, 2, 3)), squares + (values**2).sum((0, 2, 3))
            count += batch.size // 3
            advance(len(batch))
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - mean**2, (1 / 255) ** 2))  # of equal pixels: a step of eight bits
    return images.seen_by(replace(images.preprocessing, mean=tuple(mean.round(4).tolist()),
                                  std=tuple(std.round(4).tolist())))


def _require_readable(test: Images, progress: Progress) -> None:
    """DataError for a broken image, before hours of training rather than after them."""
    with progress.task(f"reading {test.name}", len(test)) as advance:
        for batch in test.pixel_batches(64):
            advance(len(batch))


def _require_classes(dataset: Dataset, images: Images, labels: tuple[str, ...]) -> None:
    assert images.labels is not None
    if not dataset.classes and images.labels.min() > 0:
        raise DataError(f"its classes are numbered from {images.labels.min()}", where=dataset.path,
                        fix="number them from 0, as outputs of a net are")
    if len(labels) < 2:
        raise DataError("holds one class alone", where=dataset.path, fix="give images of two classes or more")
    require_every_class(images.labels, labels, len(labels), "the training split", dataset.path)
