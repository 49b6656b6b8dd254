"""`export --bundle`: a folder that runs on a device by itself, without edge-se."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from edge_se.core.artifacts import MANIFEST, Build, check_file
from edge_se.core.errors import ArtifactError
from edge_se.device import shipped
from edge_se.graph.onnx_model import OnnxModel

FOLDER, FILE = "bundle", "bundle.json"
SCHEMA = "edge-se/bundle/1"
# What a device should try first: the file that keeps floats in FP16 where its TensorRT takes it.
PREFERENCE = ("tensorrt-fp16", "tensorrt", "arm", "cpu", "cpu-avx2", "any")
README = """# {model}

`python3 run.py image.png` classifies images with the best file that runs on this device: TensorRT's INT8 where
TensorRT is, else onnxruntime's. It needs Python 3.8 or later, numpy, one of both runtimes, and Pillow for PNG and JPEG;
`.npy` files of pixels (uint8, 3 x {height} x {width}) need nothing else. The first run with TensorRT builds an engine,
which is kept in `~/.cache/edge-se/device` for the next one.

- `bundle.json`: labels, preprocessing, and each file with its precision, its target and its SHA-256
- `manifest.json`: what edge-se measured when it exported them, and where they come from
- `agent.pyz`: what runs them; `python3 agent.pyz describe` tells what this device is and can
"""


def write_bundle(build: Build) -> Path:
    """The folder, made aside and renamed, so that an interrupted run leaves the old one or none."""
    folder = build.folder / FOLDER
    aside = folder.with_name(f".edge-se-{os.getpid()}-{FOLDER}")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for artifact in build.artifacts:
            shutil.copyfile(check_file(build, artifact), aside / artifact.file)
        shutil.copyfile(build.folder / MANIFEST, aside / MANIFEST)
        (aside / shipped.NAME).write_bytes(shipped.zipapp())
        shutil.copyfile(Path(shipped.__file__).with_name("run.py"), aside / "run.py")
        content = _content(build)
        (aside / FILE).write_text(json.dumps(content, indent=2) + "\n")
        height, width = content["input_size"]
        (aside / "README.md").write_text(README.format(model=build.model, height=height, width=width))
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    except OSError as error:
        raise ArtifactError(f"cannot be written ({error.strerror or error})", where=folder,
                            fix="check the folder's rights and the free space, or choose another with --out") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _content(build: Build) -> dict[str, Any]:
    files = [{"file": item.file, "precision": item.precision, "target": item.target, "sha256": item.sha256}
             for item in sorted(build.artifacts, key=_preference) if item.target in PREFERENCE]
    height, width = OnnxModel.read(build.folder / build.artifacts[0].file).input_shape[2:]
    return {"schema": SCHEMA, "model": build.model, "source": build.source, "labels": list(build.labels),
            "input_size": [height, width], "mean": build.preprocessing["mean"], "std": build.preprocessing["std"],
            "files": files}


def _preference(artifact: Any) -> int:
    return PREFERENCE.index(artifact.target) if artifact.target in PREFERENCE else len(PREFERENCE)
