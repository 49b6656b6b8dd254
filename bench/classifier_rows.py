"""One export of a net of `bench/classifiers.py`: SQNR of its INT8 files and of the peers', latencies, what was told."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from bench.classifier_nets import Net, warm
from bench.classifier_peers import PEERS
from edge_se.backends.base import Backend, Device, Session
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.backends.openvino import OpenVino
from edge_se.core.errors import EdgeSeError
from edge_se.core.progress import SilentProgress
from edge_se.data import cifar10, splits
from edge_se.data.layouts.pixel_archive import write_archive
from edge_se.data.preprocessing import assumed, tensor
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import TimingPlan
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.steps.export import export

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("cpu", "openvino", "tensorrt")
CALIBRATION, EVALUATION, WARM = 16, 32, 64  # images
ROUNDS = 5
PLAN = TimingPlan(min_duration=0.02, min_runs=3, warmup=0.01)
SECONDS = 600  # of the processor, for one combination of a net

Document = dict[str, Any]


class Notes(SilentProgress):
    """Keeps what `export` tells."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)


class TooSlowError(Exception):
    """A combination took longer than SECONDS."""


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
    signal.signal(signal.SIGPROF, _too_slow)
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
