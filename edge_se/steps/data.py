"""`data`: fetch, verify and synthesize."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_se.core.assets import cache_dir
from edge_se.core.cards import weights_of
from edge_se.core.errors import ArtifactError, CalibrationError, ModelError, UnavailableError
from edge_se.core.files import sha256_of
from edge_se.core.outputs import PIXELS, require_file
from edge_se.core.progress import SILENT, Progress
from edge_se.data import cifar10
from edge_se.data.layouts.pixel_archive import write_archive
from edge_se.graph.source import preprocessing_of
from edge_se.nets.zoo import build, spec_of

SCHEMA = "edge-se/data/1"


def fetch(out: Path | None = None, progress: Progress = SILENT) -> dict[str, Any]:
    """Downloads CIFAR-10 (the one command that goes to the network on its own) and checks it."""
    folder = out or cache_dir() / "data"
    _require_place(folder)
    progress.note(f"downloading CIFAR-10 (170 MB) to {folder}")
    cifar = cifar10.fetch(folder)
    return {"schema": SCHEMA, "action": "fetch", "folder": str(cifar.root), "files": len(cifar10.SHA256)}


def _require_place(folder: Path) -> None:
    """Raises ArtifactError where the download would replace files that are not the data set's."""
    fix = "choose another folder with --out"
    for path in (folder, folder / cifar10.BINARY_FOLDER):
        if path.exists() and not path.is_dir():
            raise ArtifactError("is a file, not a folder", where=path, fix=fix)
    for name, sha256 in cifar10.SHA256.items():
        path = folder / cifar10.BINARY_FOLDER / name
        if path.exists() and (not path.is_file() or sha256_of(path) != sha256):
            raise ArtifactError("would be overwritten, and is not the official file", where=path,
                                fix=f"{fix}, or move it away")


def verify(data: Path | None = None) -> dict[str, Any]:
    """Checks every file of the data set against the official SHA-256."""
    cifar = cifar10.require(data)
    cifar.verify()
    return {"schema": SCHEMA, "action": "verify", "folder": str(cifar.root), "files": len(cifar10.SHA256)}


def synthesize(model: str, *, weights: Path | None = None, images: int = 256, steps: int = 300, seed: int = 0,
               out: Path | None = None, progress: Progress = SILENT) -> dict[str, Any]:
    """Makes a calibration set from a trained net alone and writes it as an .npz."""
    spec = spec_of(model)
    net = build(spec)
    try:
        from edge_se.nets.weights import load_weights
        from edge_se.quantization.synthesis import SynthesisPlan
        from edge_se.quantization.synthesis import synthesize as optimise
    except ModuleNotFoundError as error:
        raise UnavailableError("synthesizing needs torch", fix="pip install 'edge-se[torch]'") from error
    path = out or Path(f"synthetic-{images}.npz")
    source = weights or weights_of(model)
    require_file(path, PIXELS, "--out", sources=(source,))
    if not source.is_file():
        raise ModelError("no such weights", where=source, fix=f"run `edge-se train --model {model}` first")
    load_weights(net, source)
    if images < spec.classes or steps < 1:
        raise CalibrationError(f"{images} images in {steps} steps make no calibration set", where="data synthesize",
                               fix=f"take at least {spec.classes} images and 1 step")
    with progress.task("synthesizing", steps) as advance:
        pixels = optimise(net, SynthesisPlan(images=images, steps=steps, seed=seed), preprocessing_of(spec),
                          classes=spec.classes, advance=advance)
    provenance = {"model": model, "weights_sha256": sha256_of(source), "images": images, "steps": steps, "seed": seed}
    write_archive(path, pixels, provenance)
    return {"schema": SCHEMA, "action": "synthesize", "file": str(path), **provenance, "sha256": sha256_of(path)}
