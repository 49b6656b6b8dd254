"""edge-se against its peers, side by side in one run: same weights, same calibration images, same test images.

    python bench/peers/run.py [MODEL ...]            # about fifteen minutes a model on two cores

Needs CIFAR-10 ($EDGE_SE_DATA) and a build of each model (`edge-se export --model NAME --int8`). Each peer gets a
virtual environment of its own (under $EDGE_SE_CACHE/peers, made once): ModelOpt brings onnxruntime-gpu, which would
shadow onnxruntime. Writes bench/results/peers-MODEL.json and refreshes docs/peers.md.

Accuracy and flips are on the 10,000 test images, against FP32 in onnxruntime: by onnxruntime, and by OpenVINO for the
files that were made for it.
Latency: 1 thread, batch 1, files in turns, median of the rounds; in OpenVINO the median of several processes. Time and
memory are of quantizing alone: seconds of the call, and the largest resident size of the process that made it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import numpy as np

from bench.tables import readme
from edge_se.backends.base import Device
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.core import environment
from edge_se.core.artifacts import BUILDS, check_file, read_build
from edge_se.core.assets import cache_dir
from edge_se.core.files import write_json
from edge_se.core.measured_by import measured_by
from edge_se.data import calibration, cifar10, splits
from edge_se.evaluation.accuracy import flips, logits_of
from edge_se.evaluation.statistics import drop_interval, pair
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import TimingPlan
from edge_se.reporting.console import ConsoleProgress

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
ROUNDS, PER_ROUND = 9, 60
PROCESSES = 7  # of OpenVINO
# (name in the table, peer, its environment, file it writes)
CONTENDERS = (
    ("edge-se cpu", "edge-se", None, "int8.cpu.onnx"),
    ("edge-se openvino", "edge-se", None, "int8.openvino.onnx"),
    ("edge-se tensorrt", "edge-se", None, "int8.tensorrt.onnx"),
    ("onnxruntime default", "ort", None, "ort.onnx"),
    ("NNCF on ONNX", "nncf-onnx", "nncf", "nncf.onnx"),
    ("NNCF on OpenVINO", "nncf-openvino", "nncf", "nncf.xml"),
    ("ModelOpt ONNX", "modelopt", "modelopt", "modelopt.onnx"),
)
BY_OPENVINO = ["edge-se openvino", "NNCF on OpenVINO"]
SIMULATED = ("edge-se tensorrt", "ModelOpt ONNX")  # for TensorRT: as the target says, onnxruntime rounds no float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(readme.MODELS))
    for model in parser.parse_args().models:
        write_json(RESULTS / f"peers-{model}.json", compared(model, ConsoleProgress()))
    readme.main()


def compared(model: str, progress: ConsoleProgress) -> dict[str, Any]:
    cifar = cifar10.require()
    build = read_build(BUILDS / model)
    fp32_path = check_file(build, build.artifacts[0]).resolve()
    calibrating, test = calibration.load(calibration.REAL, cifar), splits.load("test", cifar)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "calibration.npy", np.concatenate(list(calibrating.batches(64))))
        np.save(folder / "test.npy", np.concatenate(list(test.batches(500))))
        rows = []
        for label, peer, own, file in CONTENDERS:
            progress.note(f"{model}: quantizing with {label}")
            rows.append({"name": label, "file": file} | _quantized(peer, own, fp32_path, folder, folder / file))
        logits = _logits(rows, fp32_path, folder, test, progress)
        progress.note(f"{model}: timing")
        openvino = _openvino(rows, fp32_path, folder)
        logits |= {name: np.load(folder / f"{name}.npy") for name in BY_OPENVINO}
        onnxruntime = _onnxruntime(rows, fp32_path, folder)
    assert test.labels is not None
    reference = logits["FP32"]
    for row in rows:
        paired = pair(reference.argmax(1), logits[row["name"]].argmax(1), test.labels)
        low, high = drop_interval(paired, 0.025)
        row |= {"top1": 100 * float((logits[row["name"]].argmax(1) == test.labels).mean()),
                "drop_pp": 100 * paired.drop, "ci_pp": [100 * low, 100 * high],
                "flips": flips(logits[row["name"]], reference),
                "measured_by": measured_by("openvino" if row["name"] in BY_OPENVINO else "onnxruntime", floats="f32",
                                           simulation=row["name"] in SIMULATED),
                "onnxruntime_ms": onnxruntime.get(row["name"]), "openvino_ms": openvino.get(row["name"])}
    return {"schema": "edge-se/peers/1", "model": model, "n": len(test), "calibration": calibrating.name,
            "fp32": {"top1": 100 * float((reference.argmax(1) == test.labels).mean()),
                     "onnxruntime_ms": onnxruntime["FP32"], "openvino_ms": openvino["FP32"],
                     "sha256": build.artifacts[0].sha256},
            "rows": rows, "versions": _peer_versions(),
            "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                            "commit": environment.commit()}}


def _python(own: str | None) -> Path:
    """The interpreter of a peer's environment, made on first use."""
    if own is None:
        return Path(sys.executable)
    folder = cache_dir() / "peers" / own
    done = folder / ".installed"
    requirements = HERE / f"requirements-{own}.txt"
    if not done.is_file() or done.read_text() != requirements.read_text():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", "-r", requirements], check=True)
        done.write_text(requirements.read_text())
    return folder / "bin" / "python"


def _quantized(peer: str, own: str | None, source: Path, folder: Path, out: Path) -> dict[str, Any]:
    """Seconds of the call and peak resident bytes of its process."""
    command = [str(_python(own)), str(HERE / "quantize.py"), peer, str(source), str(folder / "calibration.npy"),
               str(out)]
    with open(folder / "stdout", "w+") as stdout, open(folder / "stderr", "w+") as stderr:
        done = subprocess.run(command, stdout=stdout, stderr=stderr, cwd=folder)
        stdout.seek(0)
        stderr.seek(0)
        if done.returncode != 0:
            raise SystemExit(f"{peer} failed:\n{stderr.read()[-2000:]}")
        result = json.loads(stdout.read().splitlines()[-1])
    return {key: result[key] for key in ("seconds", "peak_memory_bytes")}


def _logits(rows: list[dict[str, Any]], fp32: Path, folder: Path, test: splits.ImageSet,
            progress: ConsoleProgress) -> dict[str, np.ndarray]:
    logits = {"FP32": logits_of(OnnxModel.read(fp32), test)}
    for row in rows:
        if row["name"] not in BY_OPENVINO:
            with progress.task(f"evaluating {row['name']}", len(test)) as advance:
                target = "tensorrt" if row["name"] in SIMULATED else "any"
                logits[row["name"]] = logits_of(OnnxModel.read(folder / row["file"], target=target), test, advance)
    return logits


def _openvino(rows: list[dict[str, Any]], fp32: Path, folder: Path) -> dict[str, float]:
    job = {"images": str(folder / "test.npy"), "logits": str(folder), "rounds": ROUNDS, "per_round": PER_ROUND,
           "accuracy": BY_OPENVINO,
           "models": {"FP32": str(fp32)} | {row["name"]: str(folder / row["file"]) for row in rows}}
    medians: dict[str, list[float]] = {}
    for _ in range(PROCESSES):  # where its memory happens to lie makes one and the same model 5 % faster or slower
        (folder / "job.json").write_text(json.dumps(job))
        done = subprocess.run([_python("nncf"), HERE / "openvino_run.py", folder / "job.json"], check=True,
                              capture_output=True, text=True)
        for name, rounds in json.loads(done.stdout.splitlines()[-1]).items():
            medians.setdefault(name, []).append(statistics.median(rounds))
        job["accuracy"] = []
    return {name: statistics.median(own) for name, own in medians.items()}


def _onnxruntime(rows: list[dict[str, Any]], fp32: Path, folder: Path) -> dict[str, float]:
    from contextlib import ExitStack

    plan = TimingPlan(min_duration=0.0, min_runs=PER_ROUND, warmup=0.02)
    one = np.load(folder / "test.npy", mmap_mode="r")[:1].copy()
    paths = {"FP32": fp32} | {row["name"]: folder / row["file"] for row in rows if row["file"].endswith(".onnx")}
    medians: dict[str, list[float]] = {name: [] for name in paths}
    with ExitStack() as stack:
        sessions = {name: stack.enter_context(OnnxRuntime().open(OnnxModel.read(path), Device(threads=1)))
                    for name, path in paths.items()}
        for _ in range(ROUNDS):
            for name, session in sessions.items():
                medians[name].append(session.time(one, plan).percentile(50))
    return {name: statistics.median(rounds) for name, rounds in medians.items()}


def _peer_versions() -> dict[str, str]:
    code = ("import json\nfrom importlib.metadata import version, PackageNotFoundError\nfound = {}\n"
            "for name in ('nncf', 'openvino', 'nvidia-modelopt', 'onnxruntime', 'onnxruntime-gpu'):\n"
            "    try: found[name] = version(name)\n    except PackageNotFoundError: pass\nprint(json.dumps(found))")
    versions: dict[str, str] = {}
    for own in ("nncf", "modelopt"):
        answer = subprocess.run([_python(own), "-c", code], check=True, capture_output=True, text=True).stdout
        versions |= {f"{own}: {name}": version for name, version in json.loads(answer).items()}
    return versions


if __name__ == "__main__":
    main()
