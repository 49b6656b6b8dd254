"""Does every net of the zoo export, and what do three runtimes make of its INT8 files?

    python bench/zoo_export.py [--models NAME ...]     # default: every net; half a minute to three minutes each

For each net `edge-se export --fp16 --int8 --target cpu,openvino,tensorrt --no-accuracy` in a process of its own, with
`--untrained` where no weights are shipped, calibrated without CIFAR-10. Then `int8.cpu.onnx` runs once in onnxruntime
and `int8.openvino.onnx` in OpenVINO, on the calibration images; the files for every runtime and `int8.tensorrt.onnx`
go through the parser and the ahead-of-time builder of TensorRT for RTX, which need no GPU: what the builder says of the
engine's layers tells which became INT8. A net that is done is kept in --work and not done again until its spec, its
weights, the code that makes its files or a version changes; `seconds` are of one run, whatever else ran beside it.
Writes bench/results/zoo_export.json from all that are done, and leaves the rows of those that were not named; `python
-m bench.tables.readme` puts it into docs/models.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import edge_se
from bench.tables.nets import EXPORT_COLUMNS, export_cells
from edge_se.backends.base import Device
from edge_se.backends.table import AUTOMATIC
from edge_se.backends.tensorrt import CAPABILITY, PACKAGE, compile_check
from edge_se.core import environment
from edge_se.core.artifacts import Artifact, Build, check_file, read_build
from edge_se.core.cards import has_weights, weights_of
from edge_se.core.errors import EdgeSeError
from edge_se.core.files import read_json, sha256_of, write_json
from edge_se.data import calibration
from edge_se.data.images import Images
from edge_se.device.agent import AgentError, TensorRt, load_tensorrt
from edge_se.evaluation.accuracy import logits_of
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.source import preprocessing_of
from edge_se.nets.spec import ModelSpec
from edge_se.nets.zoo import MODELS, spec_of
from edge_se.quantization.excitations import find_excitations
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.reporting.console import ConsoleProgress, print_table
from edge_se.steps.export_images import ENLARGED
from edge_se.studies.plan import digest

TOLD = ("onnxruntime", "openvino", "tensorrt-rtx")  # whose versions stand below the table
RESULTS, SCHEMA = Path(__file__).parent / "results", "edge-se/zoo-export/1"
TARGETS = {"onnxruntime": "cpu", "openvino": "openvino"}
OPTIONS = ("--fp16", "--int8", "--target", "cpu,openvino,tensorrt", "--no-accuracy")
CODE = ("nets", "graph", "quantization")  # what makes the files
BATCH = 32
WEIGHTED = ("Conv", "Gemm", "MatMul")
FLOATS = {"Float": "fp32", "Half": "fp16"}
_LAYER = re.compile(r"^Name: (?P<name>[^,]*), LayerType: (?P<type>[^,]*), Inputs: \[(?P<inputs>.*?)\]"
                    r"(?:, Constants: \[(?P<constants>.*?)\])?, Outputs: \[(?P<rest>.*)$", re.MULTILINE)
_DATATYPE, _NODE = re.compile(r"Datatype: (\w+)"), re.compile(r"\[ONNX Layer: ([^\]]*)\]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", metavar="NAME", choices=MODELS, default=list(MODELS))
    parser.add_argument("--work", type=Path, default=Path("runs/zoo_export"), help="what is done is kept here")
    arguments = parser.parse_args()
    progress, work, result = ConsoleProgress(), arguments.work.resolve(), RESULTS / "zoo_export.json"
    before = {name: row for name, row in of_before(result).items() if name not in arguments.models}
    os.environ.pop("EDGE_SE_DATA", None)  # the conditions of whoever has no CIFAR-10
    os.environ["EDGE_SE_CACHE"] = str(work / "cache")
    for number, name in enumerate(arguments.models, 1):
        if kept(name, work) is None:
            progress.note(f"{number} of {len(arguments.models)}: {name}")
            write_json(work / f"{name}.json", {"key": key_of(name), "row": measured(name, work)})
    shutil.rmtree(work / "cache", ignore_errors=True)
    rows = [row for name in MODELS if (row := kept(name, work) or before.get(name)) is not None]
    write_json(result, {
        "schema": SCHEMA, "command": ["edge-se", "export", "--model", "NAME", *OPTIONS], "capability": CAPABILITY,
        "rows": rows, "environment": {"versions": environment.versions(), "hardware": environment.hardware()}})
    print_table(EXPORT_COLUMNS, [export_cells(row) for row in rows], left=1)
    if failed := [row["model"] for row in rows if "failed" in row]:
        sys.exit(f"not exported: {', '.join(failed)}")


def of_before(result: Path) -> dict[str, dict[str, Any]]:
    """The rows that `result` has of the runtimes that are here, by net; none of other versions."""
    if not result.exists():
        return {}
    document, versions = read_json(result), environment.versions()
    if any(document["environment"]["versions"].get(name) != versions.get(name) for name in TOLD):
        return {}
    return {row["model"]: row for row in document["rows"]}


def kept(name: str, work: Path) -> dict[str, Any] | None:
    """What is known of a net, where it still holds."""
    path = work / f"{name}.json"
    if not path.is_file():
        return None
    document = read_json(path)
    return document["row"] if document["key"] == key_of(name) else None


def key_of(name: str) -> str:
    weights, root = weights_of(name), Path(edge_se.__file__).parent
    return digest({"schema": SCHEMA, "spec": asdict(spec_of(name)), "versions": environment.versions(),
                   "weights": sha256_of(weights) if weights.is_file() else None,
                   "code": [sha256_of(path) for part in CODE for path in sorted((root / part).glob("*.py"))]})


def measured(name: str, work: Path) -> dict[str, Any]:
    """One row; `failed` with the command's own words where there is no build. The build is deleted."""
    folder, spec = work / "builds" / name, spec_of(name)
    trained = has_weights(name)
    command = ["export", "--model", name, *OPTIONS, *([] if trained else ["--untrained"])]
    row: dict[str, Any] = {"model": name, "trained": trained, "input_size": spec.input_size,
                           "commit": environment.commit()}
    started = time.monotonic()
    try:
        done = subprocess.run([sys.executable, "-m", "edge_se", "--quiet", *command, "--out", str(folder)],
                              capture_output=True, text=True, check=False)
        row |= {"returncode": done.returncode, "seconds": round(time.monotonic() - started, 1)}
        if done.returncode:
            return row | {"failed": done.stderr.replace(str(work), "").strip()[-2000:]}
        return row | judged(read_build(folder), spec)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def judged(build: Build, spec: ModelSpec) -> dict[str, Any]:
    """Files and counts of a build, and what each runtime makes of it."""
    fp32, images = opened(build, build.artifacts[0]), images_of(spec)
    reference = logits_of(fp32, images)
    assert build.calibration is not None
    return {
        "params": build.artifacts[0].params, "macs": build.artifacts[0].macs,
        "calibration": {key: build.calibration[key] for key in ("name", "images", "sha256")},
        "parity": build.parity["torch_vs_onnx"]["max_abs"],
        "files": [{"precision": item.precision, "target": item.target, "sha256": item.sha256, "bytes": item.bytes,
                   "placement": item.placement, "int8_mac_share": item.int8_mac_share} for item in build.artifacts],
        "distinct_predictions": len(set(reference.argmax(1).tolist())), "n": len(images),
        **{backend: run_once(backend, opened(build, build.find("int8", target)), images, reference)
           for backend, target in TARGETS.items()},
        "tensorrt_rtx": compiled(opened(build, build.find("int8", "tensorrt")), fp32,
                                 opened(build, build.find("fp16")))}


def opened(build: Build, artifact: Artifact | None) -> OnnxModel:
    assert artifact is not None
    return OnnxModel.read(check_file(build, artifact), precision=artifact.precision, target=artifact.target)


def images_of(spec: ModelSpec) -> Images:
    """Those that `export` calibrated on."""
    images = calibration.load(None, None)
    return images if spec.input_size == 32 else calibration.enlarged(images.first(ENLARGED), preprocessing_of(spec))


def run_once(backend: str, model: OnnxModel, images: Images, reference: Any) -> dict[str, Any]:
    """How near a file's logits in its own runtime are to those of FP32, or why it does not run there."""
    assert model.metadata is not None
    normalised = images.seen_by(model.metadata.preprocessing)
    try:
        with AUTOMATIC[backend].open(model, Device()) as session:
            logits = np.concatenate([session.run(batch) for batch in normalised.batches(BATCH)])
    except EdgeSeError as error:
        return {"runs": False, "error": error.what}
    if not np.isfinite(logits).all():
        return {"runs": False, "error": "a logit is no number"}
    return {"runs": True, "agreement": 100 * float((logits.argmax(1) == reference.argmax(1)).mean()),
            "sqnr_db": sqnr_db(reference, logits)}


@dataclass(frozen=True, kw_only=True)
class EngineLayer:
    """A layer as the builder tells of it: the datatype of its first input, the ONNX nodes that it computes.

    `int8`: it multiplies INT8 activations by INT8 weights.
    """

    type: str
    datatype: str
    int8: bool
    nodes: tuple[str, ...]


def layers_of(text: str) -> list[EngineLayer]:
    """From the verbose log of a build with detailed profiling verbosity."""
    layers = []
    for line in _LAYER.finditer(text):
        inputs, constants = (_DATATYPE.findall(line[part] or "") for part in ("inputs", "constants"))
        if not inputs:  # streams that wait for one another
            continue
        layers.append(EngineLayer(type=line["type"], datatype=FLOATS.get(inputs[0], inputs[0].lower()),
                                  int8="Int8" in inputs and "Int8" in constants,
                                  nodes=tuple(_NODE.findall(line["rest"]))))
    return layers


def compiled(model: OnnxModel, fp32: OnnxModel, fp16: OnnxModel) -> dict[str, Any]:
    """What TensorRT for RTX makes of the INT8 file, and whether it takes the other two."""
    builder, said = load_tensorrt(PACKAGE), list[str]()
    builder.logger = recorder(builder, said)
    started = time.monotonic()
    try:
        engine, _ = builder.build(model.content, precision="int8", batch=1, capability=CAPABILITY)
    except AgentError as error:
        return {"accepted": False, "error": error.what}
    layers = layers_of("\n".join(said))
    return {"accepted": True, "seconds": round(time.monotonic() - started, 2), "engine_bytes": len(engine),
            "fp32": compile_check(fp32) or "accepted", "fp16": compile_check(fp16) or "accepted",
            "plugins": sum("plugin" in layer.type.lower() for layer in layers),
            "layers": {kind: dict(sorted(Counter(layer.datatype for layer in layers if layer.type == kind).items()))
                       for kind in sorted({layer.type for layer in layers})},
            **int8_counts(model, fp32, layers)}


def recorder(builder: TensorRt, said: list[str]) -> Any:
    """A logger that keeps everything; errors also where the builder looks for them."""
    trt = builder.module

    class Recorder(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            said.append(message)
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                builder.messages.append(message)
    return Recorder()


def int8_counts(model: OnnxModel, fp32: OnnxModel, layers: Iterable[EngineLayer]) -> dict[str, dict[str, int]]:
    """Convolutions, excitations' layers and linear layers: how many there are, how many the engine computes in INT8."""
    nodes = {node.output[0]: node.name for node in fp32.proto.graph.node}
    inside = {nodes[output] for excitation in find_excitations(fp32.proto) for output in excitation.inner}
    int8 = {node for layer in layers if layer.int8 for node in layer.nodes}
    counts = {kind: {"all": 0, "int8": 0} for kind in ("convolutions", "gate_layers", "linear_layers")}
    for node in (node for node in model.proto.graph.node if node.op_type in WEIGHTED):
        kind = "gate_layers" if node.name in inside else "convolutions" if node.op_type == "Conv" else "linear_layers"
        counts[kind]["all"] += 1
        counts[kind]["int8"] += node.name in int8
    return counts


if __name__ == "__main__":
    main()
