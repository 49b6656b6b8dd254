"""`verify DIR`: do the files of a build still match its manifest, each graph its parent, and do runtimes take them?"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from edge_se.backends.base import Device
from edge_se.backends.table import BACKENDS
from edge_se.core.arguments import PathLike, text_of
from edge_se.core.artifacts import MANIFEST, check_file, check_tflite, locate_build, read_build
from edge_se.core.errors import ArtifactError, ModelError
from edge_se.core.files import sha256_of
from edge_se.core.progress import SILENT, Progress
from edge_se.graph.labels import mislabelled
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.targets.table import is_for
from edge_se.graph.tflite.conversion import to_tflite
from edge_se.quantization.table import FILE as TABLE
from edge_se.steps.verify_compile import Compilers

SCHEMA = "edge-se/verify/1"


def verify(folder: PathLike, *, compiled: bool = False, opencv: bool = False,
           litert: bool = False, progress: Progress = SILENT) -> dict[str, Any]:
    """Every file with its hash; ArtifactError at the first that does not hold.

    A runtime that does not take a file says why in a `refusal`, and is asked about the files after it all the same.
    With `compiled`, engines are built of what is for TensorRT, for a GPU that need not be here, and held against what
    INT8 files ask for; `.tflite` files are run in TFLM and compiled by vela, and `left_out` tells which of these is not
    installed. With `opencv`, what is for OpenCV is loaded there, and its layers are held against the same.
    With `litert`, each `.tflite` file must be what is made of its graph, and is loaded in LiteRT, which tells how many
    nodes XNNPACK computes.
    """
    build = read_build(locate_build(text_of(folder)))
    repeated = [name for name, count in Counter(item.file for item in build.artifacts).items() if count > 1]
    if repeated:
        raise ArtifactError(f"names {repeated[0]} twice", where=build.folder / MANIFEST, fix="export again")
    known = {artifact.sha256 for artifact in build.artifacts}
    checked: list[dict[str, Any]] = []
    compilers = Compilers(progress) if compiled else None
    for artifact in build.artifacts:
        path = check_file(build, artifact)
        model = OnnxModel.read(path, precision=artifact.precision, target=artifact.target)
        metadata = model.metadata
        if artifact.bytes != len(model.content):
            raise ArtifactError(f"has {len(model.content):,} bytes, and its manifest says {artifact.bytes:,}",
                                where=path, fix="export again")
        if path.name != model.file_name:
            raise ArtifactError(f"its manifest calls it {artifact.label}", where=path, fix="export again")
        if fault := mislabelled(model.proto, artifact.precision, artifact.target,
                                quantized=artifact.int8_mac_share > 0):
            raise ArtifactError(f"is no {artifact.label}: {fault}", where=path, fix="export again")
        if artifact.parent_sha256 is not None and artifact.parent_sha256 not in known:
            raise ArtifactError(f"was made from {artifact.parent_sha256[:12]}, which is not in this build", where=path,
                                fix="export again")
        if metadata is None or metadata.source_sha256 != build.source.get("sha256"):
            raise ArtifactError("its metadata names another source than the manifest", where=path, fix="export again")
        checked.append({"file": artifact.file, "sha256": artifact.sha256, "bytes": artifact.bytes})
        tflite = check_tflite(build, artifact)
        if tflite is not None and artifact.tflite is not None:
            checked[-1]["tflite"] = artifact.tflite
            if litert:
                if hashlib.sha256(to_tflite(model)).hexdigest() != artifact.tflite["sha256"]:
                    raise ArtifactError(f"is not what is made of {artifact.file} now", where=tflite, fix="export again")
                checked[-1]["litert"] = _told("litert", model)
        if compilers is not None:
            checked[-1] |= compilers.told_of(path, model, tflite)
        if opencv and is_for(artifact.target, "opencv"):
            checked[-1]["opencv"] = _told("opencv", model)
    table = (build.calibration or {}).get("table_sha256")
    if table is not None and sha256_of(build.folder / TABLE) != table:
        raise ArtifactError("SHA-256 differs from the manifest's: altered", where=build.folder / TABLE,
                            fix="export again")
    document = {"schema": SCHEMA, "out": build.out, "model": build.model, "source": build.source, "files": checked}
    return document if compilers is None else document | {"left_out": compilers.left_out()}


def _told(runtime: str, model: OnnxModel) -> dict[str, Any]:
    """What a runtime tells of a file that it has loaded, or why it does not load it."""
    try:
        with BACKENDS[runtime].open(model, Device()) as session:
            return session.tells()
    except ModelError as error:
        return {"refusal": f"{error.what}; {error.fix}" if error.fix else error.what}
