"""`cpu` and `litert` files against INT8 files of other tools by their defaults: python bench/peers/speed.py [MODEL ...]

Needs CIFAR-10 ($EDGE_SE_DATA), ai-edge-litert, and a build of each model (`edge-se export --model NAME --int8 --target
cpu,litert`). Tools are installed as `tools.py` says. All files are calibrated on the same images, run on the first
test images, each against FP32 in its own runtime, and timed in one process: one thread, batch 1, in turns. The
processor's time counts, which waits for nobody; other processes repeat it, since where memory lies makes one and the
same file up to 11 % faster or slower. A tool that fails is told with its last line.

About five minutes a model on one core, most of it quantizing; a run that was ended goes on from what --work has. Writes
bench/results/peer_speed.json and refreshes docs/peers.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers import tools
from bench.tables import readme
from edge_se.core import environment
from edge_se.core.artifacts import BUILDS, check_file, read_build
from edge_se.core.files import read_json, write_json
from edge_se.data import calibration, cifar10, splits
from edge_se.data.images import Labels
from edge_se.evaluation.accuracy import flips
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.tflite.conversion import to_tflite
from edge_se.reporting.console import ConsoleProgress

RESULT = Path(__file__).resolve().parents[1] / "results" / "peer_speed.json"
SCHEMA = "edge-se/peer-speed/1"
MODELS = ("slim_se", "se_resnet18")
ROUNDS, PROCESSES = 5, 3
Turns = dict[str, list[list[float]]]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A file and the FP32 file that it comes from; of a peer, which `quantize.py` makes, also its tool and packages."""

    name: str
    runtime: str
    file: str
    fp32: str
    peer: str | None = None
    tool: str | None = None
    packages: tuple[str, ...] = ()


CONTENDERS = (
    Contender(name="edge-se cpu", runtime="onnxruntime", file="int8.cpu.onnx", fp32="fp32.onnx"),
    Contender(name="edge-se litert", runtime="ai-edge-litert", file="int8.litert.tflite", fp32="own.tflite"),
    Contender(name="onnxruntime default", runtime="onnxruntime", file="ort.onnx", fp32="fp32.onnx", peer="ort"),
    Contender(name="NNCF on ONNX", runtime="onnxruntime", file="nncf.onnx", fp32="fp32.onnx", peer="nncf-onnx",
              tool="nncf", packages=("nncf",)),
    Contender(name="LiteRT static", runtime="ai-edge-litert", file="litert.tflite", fp32="fp32.tflite", peer="litert",
              tool="litert", packages=("litert-torch", "ai-edge-quantizer")),
    Contender(name="ExecuTorch XNNPACK", runtime="executorch", file="executorch.pte", fp32="fp32.pte",
              peer="executorch", tool="executorch", packages=("executorch", "torchao")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--images", type=int, default=1000, help="test images (default: 1000)")
    parser.add_argument("--work", type=Path, help="keeps what tools made and what files answered; default: nothing")
    given = parser.parse_args()
    progress = ConsoleProgress()
    with tempfile.TemporaryDirectory() as name:
        for model in given.models:
            folder = (given.work or Path(name)).resolve() / model
            folder.mkdir(parents=True, exist_ok=True)
            models = {own["model"]: own for own in read_json(RESULT)["models"]} if RESULT.exists() else {}
            models[model] = compared(model, folder, given.images, progress)
            write_json(RESULT, {"schema": SCHEMA, "models": list(models.values())})
    readme.main()


def compared(model: str, folder: Path, count: int, progress: ConsoleProgress) -> dict[str, Any]:
    """The part of the document for one model, on `count` test images; `folder` gets all files."""
    cifar = cifar10.require()
    images, test = calibration.load(calibration.REAL, cifar), splits.load("test", cifar).first(count)
    np.save(folder / "calibration.npy", np.concatenate(list(images.batches(64))))
    np.save(folder / "test.npy", np.concatenate(list(test.batches(500))))
    _copy_own(BUILDS / model, folder)
    failed = _quantized(folder, progress)
    running = [one for one in CONTENDERS if one.name not in failed]
    progress.note(f"{model}: running and timing")
    processes = _processes(running, folder, count)
    assert test.labels is not None
    rows = []
    for one in CONTENDERS:
        row = {"name": one.name, "runtime": one.runtime, "versions": _versions(one)}
        rows.append(row | ({"failed": failed[one.name]} if one.name in failed else
                           _answers(one, folder, test.labels) | times(one.file, one.fp32, processes)))
    return {"model": model, "n": len(test), "calibration": images.name, "calibrated": len(images),
            "rounds": ROUNDS, "processes": PROCESSES, "rows": rows, "against": _against_all(running, processes),
            "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                            "commit": environment.commit()}}


def _copy_own(folder: Path, out: Path) -> None:
    """The files of a build, and FP32 as LiteRT gets it. What was kept of another FP32, or of other files, goes."""
    build = read_build(folder)
    contents = {artifact.file: check_file(build, artifact).read_bytes() for artifact in build.artifacts}
    contents["int8.litert.tflite"] = (folder / "int8.litert.tflite").read_bytes()
    contents["own.tflite"] = to_tflite(OnnxModel.read(folder / "fp32.onnx"))
    fp32 = out / "fp32.onnx"
    if fp32.is_file() and fp32.read_bytes() != contents[fp32.name]:  # tools made theirs of that
        for name in {name for one in CONTENDERS for name in (one.file, one.fp32)}:
            (out / name).unlink(missing_ok=True)
            (out / f"{name}.npy").unlink(missing_ok=True)
    for name, content in contents.items():
        if not (out / name).is_file() or (out / name).read_bytes() != content:
            (out / name).write_bytes(content)
            (out / f"{name}.npy").unlink(missing_ok=True)


def _quantized(folder: Path, progress: ConsoleProgress) -> dict[str, str]:
    """Makes the files of the peers that are not in `folder`; the last words where one made none, or none that opens."""
    failed = dict[str, str]()
    for one in CONTENDERS:
        if one.peer and not (folder / one.file).is_file():
            progress.note(f"{folder.name}: quantizing with {one.name}")
            said = tools.quantized(one.peer, one.tool, folder, folder / one.file)
            if said is not None:
                failed[one.name] = said
        if one.peer and one.name not in failed and (said := _refusal(folder / one.file, one.tool)):
            failed[one.name] = said
    return failed


def _refusal(file: Path, tool: str | None) -> str | None:
    """Why its runtime does not open a file that a tool made, in its last line; None where it does."""
    done = subprocess.run([sys.executable, "-m", "bench.peers.turns", file], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, env=tools.with_tool(tool))
    return (done.stderr.strip().splitlines() or ["no word"])[-1] if done.returncode else None


def _answers(one: Contender, folder: Path, labels: Labels) -> dict[str, Any]:
    """Size and accuracy of a file, and of FP32 in the same runtime."""
    logits, reference = (np.load(folder / f"{name}.npy") for name in (one.file, one.fp32))
    return {"bytes": (folder / one.file).stat().st_size, "flips": flips(logits, reference),
            "top1": 100 * float((logits.argmax(1) == labels).mean()),
            "fp32_top1": 100 * float((reference.argmax(1) == labels).mean())}


def _against_all(running: list[Contender], processes: list[Turns]) -> list[dict[str, Any]]:
    """Each file of edge-se against the peers' `of` its runtime, and against those of any."""
    rows = []
    for one in (one for one in running if one.peer is None):
        for of in (one.runtime, "any"):
            peers = {peer.name: peer.file for peer in running if peer.peer and of in ("any", peer.runtime)}
            if peers:
                rows.append({"name": one.name, "of": of} | against(one.file, peers, processes))
    return rows


def _processes(running: list[Contender], folder: Path, count: int) -> list[Turns]:
    """What `turns.py` printed in each process; the first one also writes those logits of `count` images not kept."""
    files = list(dict.fromkeys(name for one in running for name in (one.file, one.fp32)))
    kept = {name: folder / f"{name}.npy" for name in files}
    left = {name: str(path) for name, path in kept.items() if not path.is_file() or len(np.load(path)) != count}
    tool = next((one.tool for one in running if one.runtime == "executorch"), None)
    told = list[Turns]()
    for _ in range(PROCESSES):
        (folder / "job.json").write_text(json.dumps(
            {"images": str(folder / "test.npy"), "files": {name: str(folder / name) for name in files},
             "rounds": ROUNDS, "logits": left}))
        done = subprocess.run([sys.executable, "-m", "bench.peers.turns", folder / "job.json"], check=True,
                              stdout=subprocess.PIPE, text=True, env=tools.with_tool(tool))
        told.append(json.loads(done.stdout.splitlines()[-1]))
        left = {}
    return told


def _versions(one: Contender) -> dict[str, str]:
    """Of what makes the file and of what runs it."""
    runtime = {one.runtime: tools.version(one.runtime, one.tool)}
    return {package: tools.version(package, one.tool) for package in one.packages} | runtime


def times(file: str, fp32: str, processes: list[Turns]) -> dict[str, Any]:
    """Milliseconds: medians over the turns of all processes, and of each; over FP32's of the same turns."""
    ratios = [statistics.median(_ratios(turns[file], turns[fp32])) for turns in processes]
    return {"cpu_ms": statistics.median(turn[0] for turns in processes for turn in turns[file]),
            "wall_ms": statistics.median(turn[1] for turns in processes for turn in turns[file]),
            "cpu_ms_of_processes": [statistics.median(turn[0] for turn in turns[file]) for turns in processes],
            "time_over_fp32": statistics.median(ratios)}


def against(file: str, peers: dict[str, str], processes: list[Turns]) -> dict[str, Any]:
    """Of the peers, by name, the one whose file takes the least of the processor, and how long `file` takes over it:
    the median of the ratios of the same turns in each process, and the median of those."""
    def taken(name: str) -> float:
        return statistics.median(turn[0] for turns in processes for turn in turns[peers[name]])

    fastest = min(peers, key=taken)
    ratios = [statistics.median(_ratios(turns[file], turns[peers[fastest]])) for turns in processes]
    return {"fastest_peer": fastest, "time_over_it": statistics.median(ratios), "time_over_it_of_processes": ratios}


def _ratios(own: list[list[float]], others: list[list[float]]) -> list[float]:
    return [mine[0] / theirs[0] for mine, theirs in zip(own, others, strict=True)]


if __name__ == "__main__":
    main()
