"""Time and memory at real sizes: ResNet-50 at 224 pixels, JPEG files, beside NNCF reading the same files.

    python bench/dataset_speed.py            # about eight minutes on two cores; needs a quiet machine

Every row is a process of its own, on all processors that this one may use. `ranges` and `nncf` are the calls, decoding
included, both for OpenVINO's files alone; `export` is a whole `edge-se export --int8 --target openvino`, start and
agreement included, with an empty cache. `evaluation` decodes a folder of files for a session as `gate` does,
`inference` gives it a batch that is there already, in turns. Memory with few and with many files is that of evaluating
a small net, whose inference is short: hard links to the same few files. Weights are random: what is measured depends on
shapes.

NNCF's environment is made once (bench/peers/run.py), unless --nncf names the Python of one that has nncf and openvino.
Writes bench/results/dataset_speed.json; `docs/quantization.md` quotes it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SIDE, CLASSES = 224, 4
ROWS = ("nncf", "ranges", "export")
MODEL, SMALL = "resnet50.onnx", "small.onnx"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512, help="for ranges, export and NNCF")
    parser.add_argument("--evaluated", type=int, default=256, help="for evaluation beside inference")
    parser.add_argument("--few", type=int, default=1_000, help="files, for memory")
    parser.add_argument("--many", type=int, default=50_000, help="files, for memory")
    parser.add_argument("--rounds", type=int, default=1, help="of nncf, ranges and export, in turns")
    parser.add_argument("--nncf", type=lambda text: Path(text).absolute(),  # a link to a Python is not followed
                        help="Python of an environment with nncf and openvino")
    parser.add_argument("--only", choices=("side-by-side", "evaluation", "memory"), help="leave the others as they are")
    parser.add_argument("--one", nargs=3, metavar=("ROW", "FOLDER", "IMAGES"), help=argparse.SUPPRESS)
    parser.add_argument("--made", type=lambda text: Path(text).absolute(),
                        help="keep nets and files in this folder, for the next run")
    arguments = parser.parse_args()
    if arguments.one:
        row, folder, count = arguments.one
        if row != "nncf":
            from edge_se.core.memory import one_heap

            one_heap()  # as `edge-se` starts
        found = ONE[row](Path(folder), int(count))
        print(json.dumps({"peak_memory_bytes": peak_memory_bytes()} | found))  # `export` tells that of its own process
        return
    with tempfile.TemporaryDirectory() as name:
        measure(arguments, arguments.made or Path(name))


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    from edge_se.core import environment
    from edge_se.core.files import write_json

    folder.mkdir(parents=True, exist_ok=True)
    make(folder, arguments)
    path = HERE / "results" / "dataset_speed.json"
    document = json.loads(path.read_text()) if arguments.only and path.is_file() else {}
    here = {"versions": environment.versions(), "hardware": environment.hardware(), "commit": environment.commit()}
    document |= {"schema": "edge-se/dataset-speed/1", "side": SIDE}
    if arguments.only in (None, "side-by-side"):
        document["environment"] = here
        python = arguments.nncf or peers_python()
        rounds = [{row: run(row, folder, arguments.images, python) for row in ROWS} for _ in range(arguments.rounds)]
        document["side_by_side"] = {"images": arguments.images, "rounds": rounds, **medians(rounds)}
    if arguments.only in (None, "evaluation"):
        document["evaluation"] = run("evaluation", folder, arguments.evaluated) | {"environment": here}
    if arguments.only in (None, "memory"):
        document["memory"] = [run("memory", folder, count) | {"environment": here}
                              for count in (arguments.few, arguments.many)]
    write_json(path, document)
    if "side_by_side" in document:
        print(*table(document), sep="\n")
    print(sentence(document))


def medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each row the median of the seconds, the largest memory, and the ratio of its seconds to NNCF's."""
    rows = {row: {"seconds": statistics.median(one[row]["seconds"] for one in rounds),
                  "cpu_s": statistics.median(one[row]["cpu_s"] for one in rounds),
                  "peak_memory_bytes": max(one[row]["peak_memory_bytes"] for one in rounds),
                  "of_nncf": statistics.median(one[row]["seconds"] / one["nncf"]["seconds"] for one in rounds),
                  "cpu_of_nncf": statistics.median(one[row]["cpu_s"] / one["nncf"]["cpu_s"] for one in rounds)}
            for row in ROWS}
    return {"rows": rows}


def table(document: dict[str, Any]) -> tuple[str, str]:
    """What docs/quantization.md shows of calibrating, beside NNCF: the start of the sentence above, and the table."""
    from edge_se.reporting.tables import markdown  # not at the top: NNCF's Python reads this file, too

    side = document["side_by_side"]
    rows = side["rows"]
    shown = (("collecting ranges", "ranges"), ("the whole export for `openvino`, agreement included", "export"),
             ("`nncf.quantize` on OpenVINO", "nncf"))
    words = (f"ResNet-50 at {SIDE} pixels, the same {side['images']} JPEG files, {cores(document['environment'])} "
             "(`python bench/dataset_speed.py`")
    return words, markdown(["what", "s", "over NNCF", "processor s", "over NNCF", "peak GiB"], [
        [name, f"{rows[row]['seconds']:.0f}", _over(rows, row, "of_nncf"), f"{rows[row]['cpu_s']:.0f}",
         _over(rows, row, "cpu_of_nncf"), f"{rows[row]['peak_memory_bytes'] / 2**30:.2f}"] for name, row in shown])


def _over(rows: dict[str, Any], row: str, ratio: str) -> str:
    return "–" if row == "nncf" else f"{rows[row][ratio]:.2f}"


def sentence(document: dict[str, Any]) -> str:
    """What it says of evaluating, of the parts that are there."""
    told = []
    if "evaluation" in document:
        judged = document["evaluation"]
        alone = statistics.median(one["inference_cpu_s"] for one in judged["rounds"]) / judged["images"]
        if "side_by_side" in document:
            side = document["side_by_side"]
            share = alone * side["images"] / side["rows"]["nncf"]["cpu_s"]
            told.append(f"Inference of these files in FP32 alone is {share:.2f} of NNCF's processor time: {alone:.3f} "
                        "s an image.")
        told.append(f"Evaluating {judged['images']} files takes {judged['ratio']:.2f} times as long as their "
                    f"inference, and {judged['cpu_ratio']:.2f} times its processor time.")
    if "memory" in document:
        few, many = document["memory"]
        grown = many["peak_memory_bytes"] / few["peak_memory_bytes"] - 1
        told.append(f"{many['images']:,} files instead of {few['images']:,} change the peak memory of an evaluation by "
                    f"{100 * grown:+.0f} %")
    return " ".join(told)


def cores(environment: dict[str, Any]) -> str:
    count = environment["hardware"]["cores"]
    return f"{count} core{'s' * (count != 1)}"


def run(row: str, folder: Path, count: int, python: Path | None = None) -> dict[str, Any]:
    """One row in a process of its own, with an empty cache."""
    print(f"{row}, {count:,} files", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as cache:
        command = [str((python if row == "nncf" else None) or sys.executable), str(HERE / "dataset_speed.py"), "--one",
                   row, str(folder), str(count)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=cache,
                              env=os.environ | {"EDGE_SE_CACHE": cache, "PYTHONPATH": str(ROOT)})
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(found, file=sys.stderr, flush=True)
    return {"images": count, **found}


def peers_python() -> Path:
    from bench.peers.run import _python

    return _python("nncf")


# --- the rows ---

def nncf(folder: Path, count: int) -> dict[str, Any]:
    """`nncf.quantize` with its defaults on OpenVINO's own representation, all images."""
    import nncf as library
    import openvino

    from edge_se.device.agent.preprocess import read_pixels, tensor

    how = preprocessing()
    files = files_of(folder, count)
    dataset = library.Dataset(files, lambda file: tensor(read_pixels(file, how)[None], how))
    model = openvino.Core().read_model(folder / MODEL)
    model.reshape([-1, 3, SIDE, SIDE])
    started, worked = time.perf_counter(), processor_seconds()
    library.quantize(model, dataset, subset_size=count)
    return {"seconds": time.perf_counter() - started, "cpu_s": processor_seconds() - worked,
            "version": library.__version__}


def ranges(folder: Path, count: int) -> dict[str, Any]:
    """Collecting, with the same files from the same folder."""
    from edge_se.data import calibration
    from edge_se.graph.source import load_source
    from edge_se.quantization.ranges import collect
    from edge_se.quantization.targets import target_of

    model = load_source(str(folder / MODEL), None).model
    started, worked = time.perf_counter(), processor_seconds()
    images = calibration.load(str(split_of(folder, "calibrated", count)), None, preprocessing())
    collect(model, images, targets=[target_of("openvino")])
    return {"seconds": time.perf_counter() - started, "cpu_s": processor_seconds() - worked}


def export(folder: Path, count: int) -> dict[str, Any]:
    """The whole command in its own process; its memory is what counts."""
    images, started, worked = split_of(folder, "calibrated", count), time.perf_counter(), processor_seconds()
    code = ("import sys; from pathlib import Path; import edge_se.cli as cli\n"
            "try: cli.main()\n"
            "except SystemExit as ended:\n"
            "    if ended.code: raise\n"
            "finally: print(next(line for line in Path('/proc/self/status').read_text().splitlines() "
            "if line.startswith('VmHWM')))")
    done = subprocess.run([sys.executable, "-c", code, "--json", "export", "--model", str(folder / MODEL), "--int8",
                           "--target", "openvino", "--no-accuracy", "--calibration", str(images), "--out",
                           str(Path.cwd() / "build")], stdout=subprocess.PIPE, text=True, check=True)
    seconds, lines = time.perf_counter() - started, done.stdout.splitlines()
    document = json.loads("\n".join(lines[:-1]))
    return {"seconds": seconds, "cpu_s": processor_seconds() - worked,
            "peak_memory_bytes": 1024 * int(lines[-1].split()[1]),
            "agreement_with_fp32": [item["agreement_with_fp32"] for item in document["artifacts"]]}


def evaluation(folder: Path, count: int) -> dict[str, Any]:
    """Files against batches that are there, in turns; in one session and the batch size of evaluation."""
    from edge_se.backends.base import Device
    from edge_se.backends.onnxruntime import OnnxRuntime
    from edge_se.data.dataset import open_dataset
    from edge_se.evaluation.accuracy import batch_of
    from edge_se.graph.source import load_source

    model, seconds = load_source(str(folder / MODEL), None).model, []
    for start in (0, count):
        images = open_dataset(split_of(folder, f"evaluated{start}", count, start)).split("test", preprocessing())
        batch = next(images.batches(batch_of(images)))
        with OnnxRuntime().open(model, Device()) as session:
            session.run(batch)
            started, worked = time.perf_counter(), processor_seconds()
            for _ in range(count // len(batch)):
                session.run(batch)
            seconds.append({"inference": time.perf_counter() - started,
                            "inference_cpu_s": processor_seconds() - worked})
            started, worked = time.perf_counter(), processor_seconds()
            for own in images.batches(len(batch)):
                session.run(own)
            seconds[-1] |= {"evaluation": time.perf_counter() - started,
                            "evaluation_cpu_s": processor_seconds() - worked}
    return {"ratio": statistics.median(one["evaluation"] / one["inference"] for one in seconds), "rounds": seconds,
            "cpu_ratio": statistics.median(one["evaluation_cpu_s"] / one["inference_cpu_s"] for one in seconds)}


def memory(folder: Path, count: int) -> dict[str, Any]:
    """Evaluating files with a small net: memory is that of names, hashes and what is decoded ahead."""
    from edge_se.data.dataset import open_dataset
    from edge_se.evaluation.accuracy import logits_of
    from edge_se.graph.source import load_source

    started = time.perf_counter()
    images = open_dataset(split_of(folder, "many", count)).split("test", preprocessing())
    logits_of(load_source(str(folder / SMALL), None).model, images)
    return {"seconds": time.perf_counter() - started}


ONE = {"nncf": nncf, "ranges": ranges, "export": export, "evaluation": evaluation, "memory": memory}


# --- what they run on ---

def make(folder: Path, arguments: argparse.Namespace) -> None:
    """The nets and as many different files as the rows read, unless they are there."""
    from PIL import Image

    (folder / "files").mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    for number in range(max(arguments.images, 2 * arguments.evaluated, arguments.few)):
        coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((320, 280), 3)
        pixels = np.asarray(coarse) + random.integers(-20, 21, (280, 320, 3))
        file = folder / "files" / f"{number:05}.jpg"
        if not file.is_file():
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, quality=90)
    if not (folder / SMALL).is_file():
        make_nets(folder)


def make_nets(folder: Path) -> None:
    """ResNet-50 whose batch norms have seen the images, and one convolution with a pool."""
    import torch
    from torch import nn

    from edge_se.data.torchvision_import import torchvision
    from edge_se.device.agent.preprocess import read_pixels, tensor

    torch.manual_seed(0)
    seen = torch.from_numpy(tensor(np.stack([read_pixels(file, preprocessing()) for file in files_of(folder, 16)]),
                                   preprocessing()))
    small = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(8, CLASSES))
    for name, net in ((MODEL, torchvision.models.get_model("resnet50", weights=None)), (SMALL, small)):
        net.train()
        with torch.no_grad():
            for _ in range(3):
                net(seen)
        net.eval()
        torch.onnx.export(net, (torch.zeros(2, 3, SIDE, SIDE),), str(folder / name), dynamo=True, external_data=False,
                          dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False)


def split_of(folder: Path, name: str, count: int, start: int = 0) -> Path:
    """A folder with a `test` split, or of calibration images, in class folders: hard links, also to one file twice."""
    root, files = folder / f"{name}-{count}", files_of(folder, None)
    if not root.is_dir():
        for number in range(count):
            place = root / ("" if name == "calibrated" else "test") / f"class{number % CLASSES}"
            place.mkdir(parents=True, exist_ok=True)
            os.link(files[(start + number) % len(files)], place / f"{number:06}.jpg")
    return root


def files_of(folder: Path, count: int | None) -> list[Path]:
    return sorted((folder / "files").iterdir())[:count]


def preprocessing() -> Any:
    from edge_se.device.agent.preprocess import Preprocessing

    return Preprocessing(size=(SIDE, SIDE), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def processor_seconds() -> float:
    """Of all threads of this process and of those that ended below it: what a busy machine changes little."""
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, (resource.RUSAGE_SELF,
                                                                                  resource.RUSAGE_CHILDREN)))


def peak_memory_bytes() -> int:
    """Largest resident size of this program so far."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


if __name__ == "__main__":
    main()
