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
import logging
import shlex
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace

from bench.classifier_nets import LARGEST, Net, nets
from bench.classifier_peers import PEERS
from bench.classifier_rows import (
    CALIBRATION,
    EVALUATION,
    ROOT,
    Document,
    combination,
    exported,
    inside_a_folder,
    target_row,
    warmed,
)
from bench.tables import readme
from bench.tables.classifiers import is_below
from edge_se.core import environment
from edge_se.core.files import read_json, write_json
from edge_se.data.splits import ImageSet
from edge_se.graph.source import SourceOptions, load_source
from edge_se.quantization.effort import EFFORTS
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect as collect_ranges
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import target_of
from edge_se.reporting.console import ConsoleProgress

FILE = ROOT / "bench" / "results" / "classifiers.json"
PARTS = ROOT / "build" / "classifiers"
HOLD, AT_ONCE = 140, 10  # seconds after which a process begins with no other net, and the nets that it is given


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


if __name__ == "__main__":
    main()
