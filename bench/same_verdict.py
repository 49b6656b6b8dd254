"""Is a verdict the same whatever layout the images have? python bench/same_verdict.py   (about ten minutes; CIFAR-10)

The bundled se_resnet18's fp32.onnx without its metadata, CIFAR-10's test images and the 512 training images that the
default calibrates on: in the official files, as PNG class folders, a table, an .npz, a parquet file and tar shards.
Each is exported for `cpu` and gated. Writes bench/results/same_verdict.json, and fails where a layout tells another
top-1, another count or another verdict.
"""

from __future__ import annotations

import csv
import io
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from PIL import Image

from edge_se.core import environment
from edge_se.core.files import write_json
from edge_se.data import calibration, cifar10, splits
from edge_se.data.splits import ImageSet
from edge_se.graph.source import SourceOptions, load_source
from edge_se.steps.export import export
from edge_se.steps.gate import gate

RESULTS = Path(__file__).parent / "results"
MODEL = "se_resnet18"
SHARD = 2_500  # images of a tar file
HELD_OUT = 100  # images of the validation split, which nothing here looks at
Sets = dict[str, ImageSet]  # by split


def main() -> None:
    cifar = cifar10.require()
    calibrating = calibration.load(calibration.REAL, cifar)
    assert isinstance(calibrating, ImageSet)
    # Without a validation split a tenth of the training images would be held out, and the ranges be others.
    sets = {"train": calibrating, "validation": splits.load("validation", cifar).first(HELD_OUT),
            "test": splits.load("test", cifar)}
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        proto = load_source(MODEL, None).model.copy()
        del proto.metadata_props[:]
        onnx.save(proto, root / "mine.onnx")
        for name, write in LAYOUTS.items():
            if write is None:
                data, options = cifar.root, {"calibration": calibration.REAL}
            else:
                data, options = write(root / name.replace(" ", "_"), sets), {}
            rows.append({"layout": name} | judged(root, data, options))
            print(rows[-1], file=sys.stderr)
    write_json(RESULTS / "same_verdict.json", {
        "schema": "edge-se/same-verdict/1", "model": MODEL, "target": "cpu", "rows": rows,
        "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                        "commit": environment.commit()}})
    told = [{key: value for key, value in row.items() if key != "layout"} for row in rows]
    if any(one != told[0] for one in told):
        sys.exit("a layout tells something else than CIFAR-10's own files")


def judged(root: Path, data: Path, options: dict[str, Any]) -> dict[str, Any]:
    """What the gate says of the model on these images, and the hash of the INT8 file that was judged."""
    labels = root / "labels.txt"
    labels.write_text("\n".join(cifar10.CLASSES))
    build = export(root / "mine.onnx", int8=True, targets="cpu", data=data, accuracy=False, out=root / "build",
                   preprocessing=SourceOptions(preprocessing="cifar10", labels=cifar10.CLASSES), **options)
    document, int8 = gate(root / "build", data=data), build.find("int8", "cpu")
    assert int8 is not None
    return {"fp32_top1": document["fp32_top1"], "n": document["n"], "broken": document["broken"],
            "fixed": document["fixed"], "drop_pp": document["drop_pp"], "verdict": document["overall"],
            "int8_sha256": int8.sha256}


def class_folders(root: Path, sets: Sets) -> Path:
    for split, images in sets.items():
        for index, (content, label) in enumerate(encoded(images)):
            path = root / split / cifar10.CLASSES[label] / f"{index:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return root


def table(root: Path, sets: Sets) -> Path:
    root.mkdir()
    with (root / "images.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split"])
        for split, images in sets.items():
            for index, (content, label) in enumerate(encoded(images)):
                (root / f"{split}-{index:05}.png").write_bytes(content)
                rows.writerow([f"{split}-{index:05}.png", cifar10.CLASSES[label], split])
    return root / "images.csv"


def arrays(root: Path, sets: Sets) -> Path:
    path = root.with_suffix(".npz")
    np.savez(path, pixels=np.concatenate([images.pixels for images in sets.values()]),
             labels=np.concatenate([labels_of(images) for images in sets.values()]), names=np.array(cifar10.CLASSES),
             split=np.concatenate([np.full(len(images), split) for split, images in sets.items()]))
    return path


def parquet(root: Path, sets: Sets) -> Path:
    import pyarrow
    from pyarrow import parquet as files

    root.mkdir()
    for split, images in sets.items():
        contents, labels = zip(*encoded(images))
        files.write_table(pyarrow.table({"image": [{"bytes": content, "path": None} for content in contents],
                                         "label": [cifar10.CLASSES[label] for label in labels]}),
                          root / f"{split}-00000-of-00001.parquet", row_group_size=500)
    return root


def shards(root: Path, sets: Sets) -> Path:
    root.mkdir()
    for split, images in sets.items():
        whole = encoded(images)
        for start in range(0, len(whole), SHARD):
            with tarfile.open(root / f"{split}-{start // SHARD:04}.tar", "w") as archive:
                for index, (content, label) in enumerate(whole[start : start + SHARD], start):
                    for suffix, part in (("png", content), ("cls", str(label).encode())):
                        member = tarfile.TarInfo(f"{index:05}.{suffix}")
                        member.size = len(part)
                        archive.addfile(member, io.BytesIO(part))
    return root


def encoded(images: ImageSet) -> list[tuple[bytes, int]]:
    """Each image as PNG, with its label."""
    found = []
    for pixels, label in zip(images.pixels, labels_of(images)):
        content = io.BytesIO()
        Image.fromarray(pixels.transpose(1, 2, 0)).save(content, "PNG", compress_level=1)
        found.append((content.getvalue(), int(label)))
    return found


def labels_of(images: ImageSet) -> np.ndarray:
    assert images.labels is not None
    return images.labels


LAYOUTS: dict[str, Callable[[Path, Sets], Path] | None] = {
    "CIFAR-10's own files": None, "PNG class folders": class_folders, "CSV table": table, "npz": arrays,
    "parquet": parquet, "tar shards": shards}


if __name__ == "__main__":
    main()
