"""Logits of ONNX files in the onnxruntime of whichever Python runs this: classes.py IMAGES.npy FOLDER FILE.onnx...

Runs on a device and under emulation: Python 3.8, numpy and onnxruntime. FOLDER gets NAME.npy (images, classes) for each
file, and versions.json.
"""

import json
import platform
import sys
from pathlib import Path

import numpy as np
import onnxruntime

BATCH = 16


def main():
    images, folder = np.load(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for file in map(Path, sys.argv[3:]):
        np.save(folder / f"{file.name}.npy", logits_of(str(file), images))
        sys.stderr.write(f"  {file.name}: {len(images)} images\n")
    (folder / "versions.json").write_text(json.dumps({
        "machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__}))


def logits_of(file, images):
    """Normalised images (N, 3, H, W) -> logits (N, classes)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # an emulated processor is of no vendor that onnxruntime knows, which it would tell
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: images[start : start + BATCH]})[0]
                           for start in range(0, len(images), BATCH)])


if __name__ == "__main__":
    main()
