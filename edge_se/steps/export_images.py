"""The images that an export calibrates on, chooses by and measures accuracy on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_se.core.progress import Progress
from edge_se.data import calibration as calibration_sets
from edge_se.data.dataset import Dataset
from edge_se.data.images import Images
from edge_se.data.preprocessing import CIFAR10
from edge_se.graph.metadata import write_metadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.source import Source

ENLARGED = 32  # images that suffice where nothing is set or judged by them


def named_by(source: Source, dataset: Dataset | None) -> Source:
    """`source` with the classes of the user's images as labels, where nothing else names the outputs."""
    if dataset is None or dataset.cifar or not dataset.classes or source.metadata.labels or source.is_untrained:
        return source
    if outputs_of(source.model) not in (None, len(dataset.classes)):
        return source  # the counts differ, which is told when images are asked for
    proto, metadata = source.model.copy(), source.metadata
    write_metadata(proto, replace(metadata, preprocessing=replace(metadata.preprocessing, labels=dataset.classes)))
    return replace(source, model=OnnxModel.of(proto))


def calibration_images(source: Source, name: str | None, dataset: Dataset | None, *, needed: bool = True,
                       skip_broken: bool = False) -> Images:
    """The calibration set at the model's size, with the model's preprocessing; `skip_broken` is for a named one.

    Without a name, and with the name of the data set itself, those are training images of the user's data set. Where
    nothing is set or chosen by them they are not `needed`: synthetic images that are enlarged do for what is compared.
    """
    how = source.metadata.preprocessing
    own = dataset is not None and not dataset.cifar and not source.is_untrained
    if dataset and own and (name is None or Path(name).resolve() == dataset.path.resolve()):
        return dataset.calibration(how)
    if (source.is_untrained or not needed) and name is None and how.size != CIFAR10.size:
        return calibration_sets.enlarged(calibration_sets.load(None, None).first(ENLARGED), how)
    return calibration_sets.load(name, dataset.cifar if dataset else None, how, skip_broken=skip_broken)


def held_out_images(source: Source, images: Images, dataset: Dataset | None) -> Images:
    """What placements and foldings are chosen on: held-out images, or the calibration images where none are here."""
    how = source.metadata.preprocessing
    if dataset is None or source.is_untrained or not dataset.judges(how):
        return images
    return dataset.held_out(how, outputs_of(source.model)) or images


def judged_images(source: Source, dataset: Dataset | None) -> Images | None:
    """Labelled images that accuracy is measured on; None where there are none for this model."""
    how = source.metadata.preprocessing
    if dataset is None or source.is_untrained or not dataset.judges(how):
        return None
    return dataset.judged(how, outputs_of(source.model))


def outputs_of(model: OnnxModel) -> int | None:
    """How many classes the graph answers with; None where it does not say."""
    dims = model.proto.graph.output[0].type.tensor_type.shape.dim
    return dims[-1].dim_value if dims and dims[-1].HasField("dim_value") else None


def tell_of_skipped(images: Images, progress: Progress) -> None:
    """Tells how many broken images were left out, where any were."""
    if images.skipped:
        one = images.skipped == 1
        progress.note(f"{images.name}: {images.skipped} image{'' if one else 's'} that cannot be decoded "
                      f"{'was' if one else 'were'} left out")


def described_images(images: Images) -> dict[str, Any]:
    """What the figures of a build were measured on, for the manifest."""
    skipped = {"skipped": images.skipped} if images.skipped else {}
    return {"name": images.name, "split": images.split, "images": len(images), "sha256": images.sha256, **skipped}
