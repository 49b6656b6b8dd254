"""`export --bundle`: a folder that runs on a device by itself, without edge-se."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from edge_se.core.artifacts import MANIFEST, Artifact, Build, check_file, check_tflite
from edge_se.core.errors import ArtifactError
from edge_se.core.files import read_json
from edge_se.core.outputs import require_folder
from edge_se.device import shipped
from edge_se.device.agent import RUNTIMES
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.targets.table import TARGETS, is_for, rules_of

FOLDER, FILE = "bundle", "bundle.json"
SCHEMA = "edge-se/bundle/1"
README = """# {model}

`python3 run.py image.png` classifies images with the best file that runs on this device: where TensorRT is, its INT8,
else its FP16; else onnxruntime's INT8, else LiteRT's. It needs Python 3.8 or later, numpy, one of the runtimes, and
Pillow for PNG and JPEG; `.npy` files of pixels (uint8, 3 x {height} x {width}) need nothing else. The first run with
TensorRT builds an engine, which is kept in `~/.cache/edge-se/device` for the next one.

- `bundle.json`: labels, preprocessing, each file with its precision, its target and its SHA-256, and what runs which
  target
- `manifest.json`: what edge-se measured when it exported them, and where they come from
- `agent.pyz`: what runs them; `python3 agent.pyz describe` tells what this device is and can
"""


def require_place(folder: Path, model: str) -> None:
    """Raises ArtifactError where a bundle would take the place of `model`, which is read, or of a user's files."""
    require_folder(folder, {FILE: "bundle"}, ("*",), sources=(model,))
    if not (folder / FILE).is_file():
        return
    entries = read_json(folder / FILE).get("files")
    own = {FILE, MANIFEST, shipped.NAME, "run.py", "README.md", "__pycache__",
           *(entry.get("file") for entry in (entries if isinstance(entries, list) else []) if isinstance(entry, dict))}
    if foreign := sorted(path for path in folder.iterdir() if path.name not in own):
        raise ArtifactError("would be removed: the bundle of before does not hold it", where=foreign[0],
                            fix="move it away, or choose another folder with --out")


def write_bundle(build: Build) -> Path:
    """The folder, made aside and renamed, so that an interrupted run leaves the old one or none."""
    folder = build.folder / FOLDER
    aside = folder.with_name(f".edge-se-{os.getpid()}-{FOLDER}")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for artifact in _carried(build):
            source = check_tflite(build, artifact) or check_file(build, artifact)
            shutil.copyfile(source, aside / source.name)
        shutil.copyfile(build.folder / MANIFEST, aside / MANIFEST)
        (aside / shipped.NAME).write_bytes(shipped.zipapp())
        shutil.copyfile(Path(shipped.__file__).with_name("run.py"), aside / "run.py")
        content = _content(build)
        (aside / FILE).write_text(json.dumps(content, indent=2) + "\n")
        height, width = content["input_size"]
        (aside / "README.md").write_text(README.format(model=build.model, height=height, width=width),
                                         encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    except OSError as error:
        raise ArtifactError(f"cannot be written ({error.strerror or error})", where=folder,
                            fix="check the folder's rights and the free space, or choose another with --out") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def left_out(build: Build) -> str | None:
    """The INT8 files of `build` that no runtime of a bundle takes, as a sentence; None where there are none."""
    carried = _carried(build)
    files = [item.file for item in build.artifacts if item.precision == "int8" and item not in carried]
    if not files:
        return None
    alone = "" if any(item.precision == "int8" for item in carried) else (
        ", and has no other INT8 file: add one with `--target tensorrt`, `arm`, `cpu` or `litert`")
    return f"the bundle leaves {', '.join(files)} out, for which its run.py has no runtime{alone}"


def _carried(build: Build) -> list[Artifact]:
    """The files that a runtime of the agent takes; what a device should try first comes first."""
    return sorted((item for item in build.artifacts if any(is_for(item.target, runtime) for runtime in RUNTIMES)),
                  key=_preference, reverse=True)


def _content(build: Build) -> dict[str, Any]:
    artifacts = _carried(build)
    models = {item.file: OnnxModel.read(build.folder / item.file) for item in artifacts}
    files = [{"file": item.file, "sha256": item.sha256, **(item.tflite or {}),
              "precision": item.precision, "target": item.target, "opset": models[item.file].opset,
              "batch": models[item.file].input_shape[0]} for item in artifacts]
    metadata = models[build.artifacts[0].file].metadata
    assert metadata is not None  # `export` wrote it
    how = metadata.preprocessing.document()
    beside = {"labels": how.pop("labels"), "input_size": how.pop("size"), "mean": how.pop("mean"),
              "std": how.pop("std")}
    return {"schema": SCHEMA, "model": build.model, "source": build.source, **beside, "preprocessing": how,
            "files": files, "targets": {item.target: rules_of(item.target) for item in artifacts}}


def _preference(artifact: Artifact) -> int:
    return TARGETS[artifact.target].preference if artifact.target in TARGETS else -1
