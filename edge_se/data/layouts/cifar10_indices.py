"""A .json with indices into CIFAR-10's training images, such as the files in calibration/."""

from __future__ import annotations

from pathlib import Path

from edge_se.core.errors import CalibrationError
from edge_se.data.cifar10 import require
from edge_se.data.layout import Layout, Wanted
from edge_se.data.splits import ImageSet, load_manifest, read_manifest


def calibration(path: Path, wanted: Wanted) -> ImageSet:
    """The images that it lists; CalibrationError for images of the test or the validation split."""
    manifest = read_manifest(path)
    if manifest["source"] == "test" or manifest["split"] in ("test", "validation"):
        raise CalibrationError(f"its images are of the {manifest['split']} split of '{manifest['source']}'", where=path,
                               fix="calibrate on training images, or the figures that follow mean nothing")
    return load_manifest(path, wanted.cifar or require()).seen_by(wanted.preprocessing)


LAYOUT = Layout(name="CIFAR-10 indices", about="a .json of indices", tells=lambda path: path.suffix == ".json",
                calibration=calibration)
