"""Images to run a file on that need not be one of edge-se's."""

from __future__ import annotations

from pathlib import Path

from edge_se.core.errors import ModelError
from edge_se.core.progress import Progress
from edge_se.data import calibration
from edge_se.data.images import Images
from edge_se.graph.image_input import image_facts
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.source_options import SourceOptions, preprocessing_told
from edge_se.steps.export_images import tell_of_skipped


def images_for(model: OnnxModel, path: Path, data: str | None, skip_broken: bool, preprocessing: str | None,
               progress: Progress) -> Images:
    """The images of `data` as `model` sees them, or the bundled ones, enlarged where it takes larger ones.

    With `skip_broken` those of `data` that cannot be decoded are left out. What was, and what had to be assumed of the
    preprocessing, is told. Raises ModelError where its input is no image of fixed size, and for `preprocessing` of a
    file that says its own.
    """
    if model.metadata is not None:
        if preprocessing is not None:
            raise ModelError("the file's metadata says how it sees an image", where="--preprocessing",
                             fix="leave it out")
        how = model.metadata.preprocessing
    else:
        image = image_facts(model.proto, None, path)
        if not all(image.size):
            raise ModelError("its height or width is dynamic", where=path, fix="give it a fixed size, or lint --static")
        how, assumption = preprocessing_told(SourceOptions(preprocessing=preprocessing), image)
        if assumption is not None:
            progress.note(assumption)
    if data is not None:
        images = calibration.load(data, None, how, skip_broken=skip_broken)
        tell_of_skipped(images, progress)
        return images
    return calibration.synthetic(how)
