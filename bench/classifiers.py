"""Classifiers of torchvision and timm in INT8 beside onnxruntime's and NNCF's defaults: python bench/classifiers.py

Each net gets random weights and batch norms that have seen CIFAR-10 images ($EDGE_SE_DATA) at its size, is exported by
torch.onnx (TorchScript and dynamo; dynamic and static batch), and goes through `edge-se export --int8`, onnxruntime's
`quantize_static` and `nncf.quantize`, all with the same calibration images. SQNR is that of the logits of the
evaluation images against the exported file in onnxruntime; the `tensorrt` file runs there as a simulation. Where that
is below a peer, the same file is measured with free zero points, which tells what its form costs.

Needs timm and the packages of bench/peers/requirements-nncf.txt. Each net leaves a small file under build/classifiers;
nets that have one are not measured again (`--again NAME` does). `--through CMD` puts a command before each process,
which lasts for two or three minutes, of a large net longer. Writes bench/results/classifiers.json and refreshes the
documents.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from bench.classifier_nets import LARGEST, Net, nets, warm
from bench.classifier_peers import PEERS
from bench.tables import readme
from bench.tables.classifiers import is_below
from edge_se.backends.base import Backend, Device, Session
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.backends.openvino import OpenVino
from edge_se.core import environment
from edge_se.core.errors import EdgeSeError
from edge_se.core.files import read_json, write_json
from edge_se.core.progress import SilentProgress
from edge_se.data import cifar10, splits
from edge_se.data.layouts.pixel_archive import write_archive
from edge_se.data.preprocessing import assumed, tensor
from edge_se.data.splits import ImageSet
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.source import SourceOptions, load_source
from edge_se.measure.timing import TimingPlan
from edge_se.quantization.effort import EFFORTS
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect as collect_ranges
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import target_of
from edge_se.reporting.console import ConsoleProgress
from edge_se.steps.export import export

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "bench" / "results" / "classifiers.json"
PARTS = ROOT / "build" / "classifiers"
TARGETS = ("cpu", "openvino", "tensorrt")
CALIBRATION, EVALUATION, WARM = 16, 32, 64  # images
ROUNDS = 5
PLAN = TimingPlan(min_duration=0.02, min_runs=3, warmup=0.01)
SECONDS = 600  # of the processor, for one combination of a net
HOLD, AT_ONCE = 140, 10  # seconds after which a process begins with no other net, and the nets that it is given

Document = dict[str, Any]


class Notes(SilentProgress):
    """Keeps what `export` tells."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)


class TooSlowError(Exception):
    """A combination took longer than SECONDS."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="these nets alone")
    parser.add_argument("--again", action="store_true", help="measure them anew")
    parser.add_argument("--through", default="", metavar="CMD")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--extra", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--form", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    known = {net.name: net for net in nets()}
    chosen = [known[name] for name in arguments.names] or list(known.values())
    if arguments.child:
        measure_forms(chosen) if arguments.form else measure_all(chosen, arguments.extra)
        return
    for net in chosen if arguments.again else ():
        (PARTS / f"{net.name}.json").unlink(missing_ok=True)
    for extra in (False, True):
        left = [net for net in chosen if missing_of(net, extra)]
        while left:
            before = sum(len(done(net)) for net in left)
            subprocess.run([*shlex.split(arguments.through), sys.executable, __file__, "--child",
                            *(["--extra"] if extra else []), *(net.name for net in left[:AT_ONCE])], cwd=ROOT)
            if sum(len(done(net)) for net in left) == before:
                left = left[1:]  # its process died
            left = sorted((net for net in left if missing_of(net, extra)), key=lambda net: len(done(net)))
            ConsoleProgress().note(f"{len(left)} nets to go")
    for net in filter(lacks_form, chosen):
        subprocess.run([*shlex.split(arguments.through), sys.executable, __file__, "--child", "--form", net.name],
                       cwd=ROOT)
    collect()
    readme.main()


def measure_all(chosen: Sequence[Net], extra: bool) -> None:
    """Measures one combination of each net, those with the fewest first, until the process lasted for HOLD seconds.

    A run that is cut short has then seen as many nets as it can.
    """
    started = time.monotonic()
    for net in sorted(chosen, key=lambda net: len(done(net))):
        if time.monotonic() - started < HOLD:
            measure(net, missing_of(net, extra)[:1])


def missing_of(net: Net, extra: bool) -> list[tuple[str, str]]:
    """The combinations, or the extra ones, that the part of `net` has not."""
    return [how for how in (net.extra if extra else net.combinations) if how not in done(net)]


def done(net: Net) -> list[tuple[str, str]]:
    """The combinations that the part of `net` has; all of them for a net that none can be made of."""
    path = PARTS / f"{net.name}.json"
    if not path.is_file():
        return []
    part = read_json(path)
    return [*net.combinations, *net.extra] if part["why_not"] else [
        (row["exporter"], row["batch"]) for row in part["rows"]]


def collect() -> None:
    """Writes FILE from the parts, in the order of the nets."""
    parts = [read_json(path) for path in (PARTS / f"{net.name}.json" for net in nets()) if path.is_file()]
    versions = environment.versions() | {name: environment.version_of(name) for name in ("timm", "nncf")}
    write_json(FILE, {
        "schema": "edge-se/classifiers/1", "calibration": CALIBRATION, "evaluation": EVALUATION, "nets": parts,
        "left": [net.name for net in nets() if not done(net)],
        "environment": {"versions": versions, "hardware": environment.hardware()}})


def measure(net: Net, combinations: Sequence[tuple[str, str]]) -> None:
    """Adds those of `combinations` to the part of `net` that it has not: a row for each exporter and batch."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    signal.signal(signal.SIGPROF, _too_slow)
    path = PARTS / f"{net.name}.json"
    part: Document = read_json(path) if path.is_file() else {
        "net": net.name, "library": net.library, "size": net.size, "params": net.params, "why_not": None, "rows": []}
    if 4 * (net.params or 0) >= LARGEST:
        part["why_not"] = "larger than the 2 GiB that an ONNX file in one piece holds"
    else:
        made, images = warmed(net)
        part["params"] = sum(parameter.numel() for parameter in made.parameters())
        for exporter, batch in combinations:
            # Peers see the first file that they can read: the same images give the same numbers for each exporter.
            missing = [name for name in PEERS if not any(
                row["peers"].get(name, {}).get("sqnr_db") is not None for row in part["rows"])]
            with inside_a_folder() as folder:
                row = combination(made, net, (exporter, batch), missing, images, folder)
            part["rows"].append({"exporter": exporter, "batch": batch, "commit": environment.commit()} | row)
            print(net.name, part["rows"][-1], flush=True)
    PARTS.mkdir(parents=True, exist_ok=True)
    write_json(path, part)


def measure_forms(chosen: Sequence[Net]) -> None:
    """Adds to the part of each net the SQNR of its `tensorrt` file with uint8 activations, as the peers write them."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for net in chosen:
        path, (made, images) = PARTS / f"{net.name}.json", warmed(net)
        with inside_a_folder() as folder:
            file, reference = exported(made, net, net.combinations[0], images, folder)
            source = load_source(str(file), None, SourceOptions())
        calibration = ImageSet(name="calibration", split="calibration", pixels=images.calibration, labels=None,
                               preprocessing=source.metadata.preprocessing)
        target = replace(target_of("tensorrt"), activations="uint8")
        ranges = collect_ranges(source.model, calibration).ranges(EFFORTS["default"].method, target.activations)
        free = quantize(source.model, ranges, target, place(source.model.proto, target))
        db = target_row(source.model, free, reference, images.evaluation, False)["sqnr_db"]
        write_json(path, read_json(path) | {"free_zero_points_db": db})
        print(net.name, db, flush=True)


def lacks_form(net: Net) -> bool:
    """Whether a `tensorrt` file of `net` is below a peer and was not measured with free zero points."""
    path = PARTS / f"{net.name}.json"
    part = read_json(path) if path.is_file() else {"rows": []}
    return "free_zero_points_db" not in part and any(
        "tensorrt" in row["targets"] and is_below(part, row, "tensorrt") for row in part["rows"])


def warmed(net: Net) -> tuple[nn.Module, Images]:
    """The net, whose batch norms have seen images, and the images."""
    made, images = net.build(), Images(net.size)
    warm(made, torch.from_numpy(images.warm))
    return made, images


@contextlib.contextmanager
def inside_a_folder() -> Iterator[Path]:
    """A temporary folder to work in, since onnxruntime's preprocessing leaves files where it is called."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(ROOT)


class Images:
    """CIFAR-10 images at a size: for batch norms, to calibrate with (uint8) and to evaluate on; never test images."""

    def __init__(self, size: int) -> None:
        cifar, how = cifar10.require(), assumed((size, size))
        train = enlarged(splits.load("train", cifar).pixels[:WARM + CALIBRATION], size)
        self.warm = tensor(train[:WARM], how)
        self.calibration = train[WARM:]
        self.calibration_inputs = tensor(self.calibration, how)
        self.evaluation = tensor(enlarged(splits.load("validation", cifar).pixels[:EVALUATION], size), how)


def enlarged(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(N, 3, 32, 32) -> (N, 3, size, size), bilinear."""
    return np.stack([np.asarray(Image.fromarray(image.transpose(1, 2, 0)).resize(
        (size, size), Image.Resampling.BILINEAR)).transpose(2, 0, 1) for image in pixels])


def combination(net: nn.Module, about: Net, how: tuple[str, str], peers: Sequence[str], images: Images,
                folder: Path) -> Document:
    """One export of `net`: SQNR of each file and of each peer's, latencies, what was told or refused."""
    row: Document = {"why_not": None, "seconds": None, "notes": [], "refused": None, "targets": {}, "peers": {}}
    started = time.monotonic()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        source, reference = exported(net, about, how, images, folder)
        write_archive(folder / "calibration.npz", images.calibration)
        ours(source, folder, reference, images.evaluation, row, how == about.combinations[0])
        for name in peers:
            row["peers"][name] = peer_row(PEERS[name], source, images, reference)
    except TooSlowError:
        row["why_not"] = f"took longer than {SECONDS // 60} minutes of one core"
    except Exception as error:  # of torch.onnx above all
        traceback.print_exc()
        row["why_not"] = described(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return row | {"seconds": round(time.monotonic() - started, 1)}


def exported(net: nn.Module, about: Net, how: tuple[str, str], images: Images,
             folder: Path) -> tuple[Path, NDArray[np.float32]]:
    """The file that (exporter, batch) make of `net`, and its logits of the evaluation images."""
    source, (exporter, batch) = folder / f"{about.name}.onnx", how
    to_onnx(net, about.size, exporter, batch == "dynamic", source)
    with OnnxRuntime().open(OnnxModel.read(source), Device(threads=1)) as session:
        return source, logits(session, images.evaluation)


def to_onnx(net: nn.Module, size: int, exporter: str, dynamic: bool, path: Path) -> None:
    """torch.onnx.export of `net` for images (N, 3, size, size)."""
    if exporter == "dynamo":
        shapes: Any = ({0: torch.export.Dim("batch")},) if dynamic else None
        torch.onnx.export(net, (torch.zeros(2 if dynamic else 1, 3, size, size),), str(path), dynamo=True,
                          external_data=False, dynamic_shapes=shapes, verbose=False)
    else:
        axes = {"x": {0: "batch"}, "y": {0: "batch"}} if dynamic else None
        torch.onnx.export(net, (torch.zeros(1, 3, size, size),), str(path), dynamo=False, opset_version=17,
                          input_names=["x"], output_names=["y"], dynamic_axes=axes)


def ours(source: Path, folder: Path, reference: NDArray[np.float32], inputs: NDArray[np.float32], row: Document,
         timed: bool) -> None:
    """Fills `row` with what `export` wrote, told and refused."""
    notes = Notes()
    try:
        export(source, int8=True, targets=",".join(TARGETS), calibration=folder / "calibration.npz",
               out=folder / "build", accuracy=False, progress=notes)
    except EdgeSeError as error:
        row["refused"] = str(error)
    row["notes"] = notes.said
    fp32 = folder / "build" / "fp32.onnx"
    if not fp32.is_file():
        return
    for target in TARGETS:
        path = folder / "build" / f"int8.{target}.onnx"
        if path.is_file():
            row["targets"][target] = target_row(
                OnnxModel.read(fp32), OnnxModel.read(path, precision="int8", target=target), reference, inputs, timed)


def target_row(fp32: OnnxModel, int8: OnnxModel, reference: NDArray[np.float32],
               inputs: NDArray[np.float32], timed: bool) -> Document:
    """SQNR and agreement of a file in its runtime, and its latency there beside that of FP32 if it is its own."""
    backend: Backend = OpenVino() if int8.target == "openvino" else OnnxRuntime()
    with backend.open(int8, Device(threads=1)) as session:
        got = logits(session, inputs)
        result: Document = {"sqnr_db": round(sqnr_db(reference, got), 2),
                            "agreement": 100 * float((got.argmax(1) == reference.argmax(1)).mean()),
                            "fp32_ms": None, "int8_ms": None}
        if timed and int8.target != "tensorrt":
            with backend.open(fp32, Device(threads=1)) as other:
                times = [(other.time(inputs[:1], PLAN).percentile(50), session.time(inputs[:1], PLAN).percentile(50))
                         for _ in range(ROUNDS)]
            result["fp32_ms"], result["int8_ms"] = (round(float(np.median(each)), 4) for each in zip(*times))
    return result


def peer_row(peer: Any, source: Path, images: Images, reference: NDArray[np.float32]) -> Document:
    """SQNR of a peer's file, or why there is none."""
    try:
        return {"sqnr_db": round(sqnr_db(reference, peer(source, images.calibration_inputs, images.evaluation)), 2),
                "why_not": None}
    except TooSlowError:
        raise
    except Exception as error:  # whatever a peer stumbles over
        return {"sqnr_db": None, "why_not": described(error)}


def described(error: Exception) -> str:
    """An exception's class and the first line of what it says."""
    return f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]:.200}"


def logits(session: Session, inputs: NDArray[np.float32], batch: int = 1) -> NDArray[np.float32]:
    """(N, classes) of inputs (N, 3, H, W)."""
    return np.concatenate([session.run(inputs[start:start + batch]) for start in range(0, len(inputs), batch)])


def _too_slow(number: int, frame: Any) -> None:
    raise TooSlowError


if __name__ == "__main__":
    main()
