"""Which form of file runs where: `python -m bench.compatibility BUILD [--only RUNTIME ...] [--cells N] [--limit S]`.

A BUILD is a folder of `edge-se export --fp16 --int8 --target all`. Needs CIFAR-10 ($EDGE_SE_DATA), of which the first
test images are classified, and as many of the runtimes as are wanted in the table: opencv-python-headless, tract,
tensorrt-rtx, ai-edge-litert, tflite-micro, onnxruntime-web in ./node_modules (or $EDGE_SE_WEB_RUNTIME), node, and for
arm64 what `tests/arm64/run.sh` asks for.

Each cell, a file in a runtime, has a process of its own, so that a runtime that crashes or hangs costs one cell. Each
is written to bench/results/compatibility.json when it is done. What is there of the same file in the same version is
kept: the command may be ended at any time and given again, and `--cells` measures so many and no more. `--again` also
measures what something else disturbed. At the end it refreshes the tables of the documents.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.compatibility.runtimes import RUNTIMES, Runtime
from bench.tables import readme
from bench.tables.compatibility import PROCESS, disturbed, spread
from edge_se.backends.table import BACKENDS
from edge_se.core import environment
from edge_se.core.artifacts import Artifact, Build, check_file, locate_build, read_build
from edge_se.core.children import run_module
from edge_se.core.files import read_json, write_json
from edge_se.data.dataset import require_dataset
from edge_se.data.preprocessing import CIFAR10
from edge_se.evaluation.accuracy import logits_of
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.targets.table import is_dynamic

RESULT = Path(__file__).parents[1] / "results" / "compatibility.json"
SCHEMA = "edge-se/compatibility/1"
CELL = "bench.compatibility.cell"
IMAGES, REFERENCE = "images.npy", "fp32.npy"  # what cells read: normalised images, and onnxruntime's logits of FP32
LIMIT_S = 100.0
RANGES_OF_EACH_IMAGE = ("litert", "tflm")  # the others would take the range of a whole batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--only", nargs="+", choices=RUNTIMES, metavar="RUNTIME", help=", ".join(RUNTIMES))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--again", action="store_true", help="also measure what was disturbed; the steadier stays")
    parser.add_argument("--cells", type=int, help="measure at most so many")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for one cell")
    given = parser.parse_args()
    build = read_build(locate_build(given.build))
    document: dict[str, Any] = read_json(RESULT) if RESULT.exists() else {"schema": SCHEMA, "rows": []}
    rows = [row for row in document["rows"] if not (given.again and disturbed(row))]
    left = list(missing_cells(build, rows, given.only or list(RUNTIMES)))[: given.cells]
    with TemporaryDirectory(prefix="edge-se-") as folder:
        if left:
            write_images(build, given.images, Path(folder))
        for runtime, artifact in left:
            row = measured(runtime, build, artifact, Path(folder), given.limit)
            print(f"{runtime.name}, {artifact.file}: {json.dumps(row)}", file=sys.stderr)
            document = with_row(document, build, row)
            write_json(RESULT, document)
    readme.main()


def missing_cells(build: Build, rows: list[dict[str, Any]], names: list[str]) -> Iterator[tuple[Runtime, Artifact]]:
    """Those of runtimes that are here which `rows` do not have of the same file in the same version."""
    done = {(row["runtime"], row["version"], row["file"], row["sha256"]) for row in rows}
    for name in names:
        version = RUNTIMES[name].version()
        if version is None:
            print(f"{name} is not here: {RUNTIMES[name].install}", file=sys.stderr)
            continue
        for artifact in build.artifacts:
            if is_dynamic(artifact.target) and name not in RANGES_OF_EACH_IMAGE:
                continue
            if (name, version, artifact.file, artifact.sha256) not in done:
                yield RUNTIMES[name], artifact


def write_images(build: Build, count: int, folder: Path) -> None:
    """The first `count` test images, normalised, and onnxruntime's answers of the FP32 file."""
    images = require_dataset(None).judged(CIFAR10).first(count)
    fp32 = build.find("fp32")
    assert fp32 is not None  # every build has one
    np.save(folder / IMAGES, np.concatenate(list(images.batches(500))))
    np.save(folder / REFERENCE, logits_of(OnnxModel.read(check_file(build, fp32)), images,
                                          judge=BACKENDS["onnxruntime"]))


def measured(runtime: Runtime, build: Build, artifact: Artifact, folder: Path, limit: float) -> dict[str, Any]:
    """The row of one cell; where its process crashed or took longer than `limit` seconds, that is the reason."""
    fp32 = build.find("fp32")
    assert fp32 is not None
    request = {"runtime": runtime.name, "file": str(check_file(build, artifact)), "precision": artifact.precision,
               "fp32": str(check_file(build, fp32)), "images": str(folder / IMAGES),
               "reference": str(folder / REFERENCE)}
    row = {"runtime": runtime.name, "version": runtime.version(), "file": artifact.file, "sha256": artifact.sha256}
    done = run_module(CELL, json.dumps(request), timeout=limit)
    if done.failure is not None:
        return row | {"loads": False, "reason": f"{PROCESS}{done.failure}"}
    told: dict[str, Any] = json.loads(done.out.strip().splitlines()[-1])
    return row | told


def with_row(document: dict[str, Any], build: Build, row: dict[str, Any]) -> dict[str, Any]:
    """`document` with `row` in place of the one of the same runtime and file; rows in the order of the tables.

    Of two of the same version and file the one whose time is steadier stays.
    """
    runtimes, files = list(RUNTIMES), [artifact.file for artifact in build.artifacts]
    rows, kept = list[dict[str, Any]](), row
    for old in document["rows"]:
        if (old["runtime"], old["file"]) != (row["runtime"], row["file"]):
            rows.append(old)
        elif "time_ci" in old and (old["version"], old["sha256"]) == (row["version"], row["sha256"]):
            kept = row if "time_ci" in row and spread(row) < spread(old) else old
    rows = sorted([*rows, kept], key=lambda item: (files.index(item["file"]) if item["file"] in files else len(files),
                                                  runtimes.index(item["runtime"])))
    return {"schema": SCHEMA, "model": build.model, "rows": rows,
            "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                            "commit": environment.commit()}}


if __name__ == "__main__":
    main()
