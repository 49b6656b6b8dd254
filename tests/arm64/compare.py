"""This machine's side of run.sh: the images that both run, and what differs between their logits.

    compare.py images IMAGES.npy COUNT         the first COUNT images of the synthetic set, normalised
    compare.py report RESULT.json FOLDER...    builds whose folders x86 and arm64 classes.py wrote; exit 1 when a file
                                               that is for arm64 gives another class
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edge_se.core import environment
from edge_se.core.artifacts import read_build
from edge_se.core.files import write_json
from edge_se.data.calibration import SYNTHETIC, load
from edge_se.reporting.console import print_table

FOR_ARM64 = ("any", "arm")  # the targets of files that run there; others tell how portable theirs are
SIDES = ("x86", "arm64")


def main() -> int:
    command, path, *rest = sys.argv[1:]
    if command == "images":
        images = load(SYNTHETIC, None).first(int(rest[0]))
        np.save(path, next(images.batches(len(images))))
        return 0
    rows = [row for folder in rest for row in compared(Path(folder))]
    write_json(Path(path), document(rows, Path(rest[0])))
    print_table(["model", "file", "images", "other classes", "largest logit difference", "largest logit"], [
        [row["model"], row["file"], str(row["images"]), str(row["differing_classes"]),
         f"{row['max_logit_difference']:.1e}", f"{row['max_logit']:.1f}"] for row in rows], left=2)
    return verdict(rows)


def compared(folder: Path) -> list[dict[str, Any]]:
    """One row per file of a build."""
    build, rows = read_build(folder), []
    for artifact in build.artifacts:
        x86, arm64 = (np.load(folder / side / f"{artifact.file}.npy") for side in SIDES)
        rows.append({"model": build.model, "file": artifact.file, "precision": artifact.precision,
                     "target": artifact.target, "sha256": artifact.sha256, **differences(x86, arm64)})
    return rows


def differences(x86: Any, arm64: Any) -> dict[str, Any]:
    """Of two arrays of logits (images, classes); NaN, which equals nothing, counts as another class."""
    other = (x86.argmax(axis=1) != arm64.argmax(axis=1)) | ~np.isfinite(x86 + arm64).all(axis=1)
    return {"images": len(x86), "differing_classes": int(other.sum()),
            "max_logit_difference": float(np.nan_to_num(np.abs(x86 - arm64), nan=np.finfo(np.float32).max).max()),
            "max_logit": float(np.nan_to_num(np.abs(x86)).max())}


def verdict(rows: list[dict[str, Any]]) -> int:
    """1 when a file that is for arm64 gives another class there on any image."""
    return int(any(row["differing_classes"] for row in rows if row["target"] in FOR_ARM64))


def document(rows: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """What is written: rows, and the versions of both sides, equal for all models."""
    said = subprocess.run(["qemu-aarch64-static", "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"version (\S+)", said)
    sides = {side: json.loads((folder / side / "versions.json").read_text()) for side in SIDES}
    return {"schema": "edge-se/arm64/1", "calibration": SYNTHETIC, "rows": rows,
            **sides, "emulator": {"name": "QEMU", "version": version.group(1) if version else None,
                                  "cpu": os.environ.get("QEMU_CPU", "max")},
            "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                            "commit": environment.commit()}}


if __name__ == "__main__":
    sys.exit(main())
