"""INT8 in WebAssembly: answers against native onnxruntime, and time against FP32, in node and in a headless Chromium.

    python bench/web.py node|browser MODEL [--images 1000] [--web-runtime FOLDER]    # a build in ./build

The answers are those for the first test images of CIFAR-10. Adds its rows to bench/results/web.json, in place of those
of the same place and net.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from edge_se.backends.machines.choice import Web, machine_of
from edge_se.backends.table import BACKENDS
from edge_se.core import environment
from edge_se.core.artifacts import Build, locate_build, read_build
from edge_se.core.errors import UnavailableError
from edge_se.core.files import read_json, write_json
from edge_se.core.progress import SilentProgress
from edge_se.data.dataset import require_dataset
from edge_se.data.images import Images
from edge_se.data.preprocessing import CIFAR10
from edge_se.evaluation.accuracy import flips, logits_of
from edge_se.graph.onnx_model import OnnxModel
from edge_se.reporting.console import print_table
from edge_se.steps.bench import Options, bench

RESULT = Path(__file__).parent / "results" / "web.json"
PLACES = ("node", "browser")
FILES = ("fp32.onnx", "int8.cpu.onnx")
BROWSER = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
           "--disable-background-networking", "--disable-component-update")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", choices=PLACES)
    parser.add_argument("model")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=5.0, help="of timing per file")
    parser.add_argument("--web-runtime", type=Path)
    given = parser.parse_args()
    build, web = read_build(locate_build(given.model)), Web(serve=given.place == "browser", runtime=given.web_runtime)
    images = require_dataset(None).judged(CIFAR10).first(given.images)
    rows = measured(build, given.place, web, images, given.seconds)
    earlier = read_json(RESULT)["rows"] if RESULT.exists() else []
    kept = [row for row in earlier if (row["place"], row["model"]) != (given.place, build.model)]
    write_json(RESULT, {"schema": "edge-se/web/1", "rows": sorted(kept + rows, key=lambda row: (
        row["model"], PLACES.index(row["place"]), FILES.index(row["file"])))})
    print_table(["place", "model", "file", "p50 ms", "of FP32's", "flips"], [
        [row["place"], row["model"], row["file"], f"{row['p50_ms']:.3f}", f"{row['time_of_fp32']:.2f}",
         f"{row['flips']} of {row['images']}"] for row in rows], left=3)


def measured(build: Build, place: str, web: Web, images: Images, seconds: float) -> list[dict[str, Any]]:
    """A row for each of FILES: one run of `bench`, then the answers over another page."""
    with opening(place) as progress:
        document = bench("web", model=build.folder, precisions=("fp32", "int8"), progress=progress,
                         options=Options(min_duration=seconds, web=web))
    timed = {"fp32.onnx" if row["precision"] == "fp32" else f"int8.{row['target']}.onnx": row
             for row in document["measurements"]}
    rows = []
    with opening(place) as progress, machine_of("web", web=web, progress=progress) as machine:
        for artifact in build.artifacts:
            if artifact.file not in FILES:
                continue
            model = OnnxModel.read(build.folder / artifact.file, precision=artifact.precision, target=artifact.target)
            with machine.backends["onnxruntime-web"].open(model, machine.device) as session:
                there = np.concatenate(list(session.logits(images, 100)))
            here = logits_of(model, images, judge=BACKENDS["onnxruntime"])
            row = timed[artifact.file]
            rows.append({"place": place, "model": build.model, "file": artifact.file, "sha256": artifact.sha256,
                         "images": len(images), "flips": flips(there, here),
                         "largest_difference": float(np.abs(there - here).max()),
                         "time_of_fp32": row["p50_ms"] / timed["fp32.onnx"]["p50_ms"],
                         **{key: row[key] for key in ("p50_ms", "p99_ms", "cv", "samples", "threads", "provider",
                                                      "clock_resolution_ms", "runs_per_sample", "peak_memory_bytes")},
                         "device": {key: document["environment"]["device"][key]
                                    for key in ("name", "system", "runtimes", "browser")},
                         "versions": environment.versions(), "hardware": environment.hardware(),
                         "commit": environment.commit()})
    return rows


class Opener(SilentProgress):
    """Opens the address in Chromium as soon as it is printed."""

    def __init__(self, profile: str) -> None:
        self._profile = profile
        self.process: subprocess.Popen[bytes] | None = None

    def note(self, message: str) -> None:
        if address := re.search(r"^http://\S+$", message, re.MULTILINE):
            browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
            if browser is None:
                raise UnavailableError("no Chromium here", where="browser", fix="apt-get install chromium")
            self.process = subprocess.Popen([browser, *BROWSER, f"--user-data-dir={self._profile}", address[0]],
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def opening(place: str) -> Iterator[SilentProgress]:
    """What opens the page of `place`, closed at the end; node needs nobody."""
    if place == "node":
        yield SilentProgress()
        return
    with TemporaryDirectory(prefix="edge-se-", ignore_cleanup_errors=True) as profile:
        opener = Opener(profile)
        try:
            yield opener
        finally:
            if opener.process is not None:
                opener.process.kill()
                opener.process.wait()


if __name__ == "__main__":
    main()
