"""How long a verdict takes: export, all files on CIFAR-10's test images, gate, beside an earlier commit.

    python bench/time_to_verdict.py              # a quiet machine; about 10 minutes a repeat on two cores
    python bench/time_to_verdict.py --images 500 # a short form

Both sides run in turns on this machine, with the same packages and empty caches: `export --int8 --target
cpu,openvino,tensorrt` of `se_resnet18`, the evaluation of each file in a process of its own, and `gate`, which finds
their answers in the cache. The sum of these processes is the time to a verdict; of a file the evaluation alone is told,
too, without the start of Python. The earlier commit is unpacked from git's history. With
--seconds nothing more is begun after so long; the same command goes on where it stopped, as long as code and machine
are the same. --alone counts the predictions that differ from those at batch 1 in the same runtime.

Needs CIFAR-10 ($EDGE_SE_DATA). Writes bench/results/time_to_verdict.json, then `python -m bench.tables.readme`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any

from edge_se.core import environment
from edge_se.core.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "bench" / "results" / "time_to_verdict.json"
WORK = ROOT / "build" / "time_to_verdict"
SCHEMA = "edge-se/time-to-verdict/1"
MODEL, EARLIER, ALL = "se_resnet18", "a22533f", 10_000
FILES = {"fp32.onnx": "any", "int8.cpu.onnx": "cpu", "int8.openvino.onnx": "openvino", "int8.tensorrt.onnx": "tensorrt"}
PARTS = ("export", *FILES, "gate")
# Runs on either side: what both have had since the earlier commit.
EVALUATE = """
import json, sys, time
from pathlib import Path
from edge_se.data import cifar10, splits
from edge_se.evaluation import accuracy
from edge_se.graph.onnx_model import OnnxModel
build, file, target, images = sys.argv[1:5]
model = OnnxModel.read(Path(build, file), precision=file.split(".")[0], target=target)
test = splits.load("test", cifar10.require(None)).first(int(images))
wall, processor = time.perf_counter(), time.process_time()
logits = accuracy.logits_of(model, test)
found = {"evaluation_s": time.perf_counter() - wall, "evaluation_cpu_s": time.process_time() - processor,
         "top1": accuracy.top1(logits, test.labels)}
if len(sys.argv) > 5:
    accuracy.BATCH = 1
    found["flips"] = accuracy.flips(logits, accuracy.logits_of(model, test))
print(json.dumps(found))
"""


class Side:
    """A checkout, its build and its cache."""

    def __init__(self, name: str, root: Path, images: int) -> None:
        self.name, self._root, self._images = name, root, images
        self._build, self._cache = WORK / f"build-{name}", WORK / f"cache-{name}"

    def measured(self, part: str) -> dict[str, Any]:
        """Wall and processor time of a part in a process of its own; the first one empties the cache."""
        command = ["-m", "edge_se", "--json", "gate", "--model", str(self._build)]
        if part == "export":
            shutil.rmtree(self._cache, ignore_errors=True)
            command = ["-m", "edge_se", "--json", "export", "--model", MODEL, "--int8", "--target",
                       ",".join(target for target in FILES.values() if target != "any"), "--no-accuracy", "--out",
                       str(self._build)]
        elif part != "gate":
            command = ["-c", EVALUATE, str(self._build), part, FILES[part], str(self._images)]
        started, worked = time.perf_counter(), _processor_seconds()
        told = self._run(command)
        row: dict[str, Any] = {"seconds": time.perf_counter() - started, "cpu_s": _processor_seconds() - worked}
        if part in FILES:
            row |= told
        if part == "gate":
            row |= {"verdicts": {item["file"]: item["verdict"] for item in told["targets"]}}
        return row

    def alone(self, file: str) -> int:
        """Predictions that differ from those at batch 1."""
        told = self._run(["-c", EVALUATE, str(self._build), file, FILES[file], str(self._images), "alone"])
        return int(told["flips"])

    def _run(self, command: list[str]) -> dict[str, Any]:
        done = subprocess.run([sys.executable, *command], cwd=WORK, capture_output=True, text=True, env=os.environ | {
            "PYTHONPATH": str(self._root), "EDGE_SE_CACHE": str(self._cache)})
        if done.returncode not in (0, 3):  # 3: a gate that cannot decide, on images that do not suffice
            raise SystemExit(f"{self.name}: {' '.join(command)}\n{done.stderr}")
        document: dict[str, Any] = json.loads(done.stdout)
        return document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=ALL)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--earlier", default=EARLIER, metavar="COMMIT")
    parser.add_argument("--alone", action="store_true")
    arguments = parser.parse_args()
    ends = time.monotonic() + arguments.seconds
    WORK.mkdir(parents=True, exist_ok=True)
    sides = [Side("before", unpacked(arguments.earlier), arguments.images), Side("now", ROOT, arguments.images)]
    document = continued(arguments.earlier, arguments.images)
    for repeat in range(arguments.repeats):
        for part in PARTS if arguments.images == ALL else PARTS[:-1]:  # the gate would evaluate all images
            for side in sides:
                named = {"repeat": repeat, "part": part, "side": side.name}
                if any(named.items() <= row.items() for row in document["rows"]):
                    continue
                if time.monotonic() > ends:
                    return
                document["rows"].append(named | side.measured(part))
                write_json(RESULT, document)
                print(document["rows"][-1], flush=True)
    for file in FILES if arguments.alone else ():
        if file not in document["flips_against_batch_1"] and time.monotonic() < ends:
            document["flips_against_batch_1"][file] = sides[1].alone(file)
            write_json(RESULT, document)
            print(file, document["flips_against_batch_1"][file], flush=True)


def unpacked(commit: str) -> Path:
    """The files of a commit in a folder of their own."""
    folder = WORK / commit
    if not folder.is_dir():
        packed = subprocess.run(["git", "-C", str(ROOT), "archive", commit], stdout=subprocess.PIPE, check=True).stdout
        with tempfile.TemporaryDirectory(dir=WORK) as aside, tarfile.open(fileobj=BytesIO(packed)) as archive:
            archive.extractall(Path(aside) / commit)
            (Path(aside) / commit).rename(folder)
    return folder


def continued(earlier: str, images: int) -> dict[str, Any]:
    """The document of a run that stopped, where code and machine are the same, else a new one."""
    own = {"schema": SCHEMA, "model": MODEL, "earlier": earlier, "images": images,
           "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                           "commit": (environment.commit() or "").rstrip("+")}}  # this file itself changes
    if RESULT.is_file() and own.items() <= (before := read_json(RESULT)).items():
        return before
    return own | {"rows": [], "flips_against_batch_1": {}}


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
