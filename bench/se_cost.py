"""What squeeze-and-excitation costs in time: every placement against the plain net, FP32 and INT8, in two runtimes.

    python bench/se_cost.py                    # exports what is missing, then times: about ten minutes on two cores
    python bench/se_cost.py --exports-only     # so that the timing alone can wait for a quiet machine

The nets are untrained; the time of dense layers should not depend on weights. Two controls of the same run tell how far
that holds: the bundled weights in the same nets, and one file that is timed twice. In each repeat every file of a
family is loaded anew and all are timed in turns of random order; figures are medians of the repeats' ratios. Exports
stay in build/se-cost. Writes bench/results/se_cost.json, docs/figures/se-cost.svg and the tables of docs/se.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from bench.tables import readme, se_cost
from edge_se.backends.base import Device, Session
from edge_se.backends.machines.machine import Here
from edge_se.backends.table import AUTOMATIC
from edge_se.core import environment
from edge_se.core.artifacts import BUILDS, MANIFEST, Artifact, Build, check_file, read_build
from edge_se.core.errors import ArtifactError
from edge_se.core.files import write_json
from edge_se.data.calibration import SYNTHETIC
from edge_se.evaluation.statistics import median_ratio
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.conditions import conditions_of
from edge_se.measure.timing import CV_WARNING, Latencies, TimingPlan
from edge_se.nets.arithmetic import size_of
from edge_se.nets.zoo import BUNDLED, spec_of
from edge_se.quantization.placement import PLACEMENTS
from edge_se.reporting.console import ConsoleProgress, print_table
from edge_se.reporting.figures import require_figures
from edge_se.reporting.tables import DASH
from edge_se.steps.export import export

RESULT = Path(__file__).parent / "results" / "se_cost.json"
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "se-cost.svg"
EXPORTS = BUILDS / "se-cost"
FAMILIES = {  # the plain net first
    "resnet18": ("resnet18", "se_resnet18", "se_resnet18_pre", "se_resnet18_post", "se_resnet18_identity",
                 "cmpe_resnet18_double_fc", "cmpe_resnet18_pair2x1", "cmpe_resnet18_pair1x1", "cmpe_resnet18_folded"),
    "slim": ("slim", "slim_se"),
    "mini": ("mini", "mini_se", "mini_pre", "mini_post", "mini_identity"),
}
PLACED = ("resnet18", "se_resnet18", "slim", "slim_se")  # in every INT8 placement
TARGET = {"onnxruntime": "cpu" if environment.has_fast_int8() else "cpu-avx2", "openvino": "openvino"}
TRAINED, UNTRAINED = "trained", "untrained"
ROUNDS, MIN_RUNS, WARM_UP_S = 3, 5, 0.03  # turns of a repeat; the other files' turns pushed this one out of the caches
CONFIDENCE = 0.95
BUSY = 0.5  # load average of a minute; above it something worked here


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of one net, for one runtime or, in FP32, for each."""

    family: str
    net: str
    weights: str
    is_default: bool  # of the placement that `export` takes by itself
    artifact: Artifact
    model: OnnxModel

    @property
    def key(self) -> tuple[str, str, str, str | None]:
        """Tells files of one family and runtime apart."""
        return self.net, self.weights, self.artifact.precision, self.artifact.placement


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", help=f"of {', '.join(FAMILIES)}; default: all")
    parser.add_argument("--repeats", type=int, default=12, help="six are the fewest that have an interval")
    parser.add_argument("--seconds", type=float, default=0.25, help="per file and repeat")
    parser.add_argument("--exports", type=Path, default=EXPORTS)
    parser.add_argument("--exports-only", action="store_true", help="time nothing")
    parser.add_argument("--again", action="store_true", help="export also what is there, as after a change of the nets")
    parser.add_argument("--out", type=Path, default=RESULT, help="another file leaves the documents as they are")
    options = parser.parse_args(argv)
    families = options.families or list(FAMILIES)
    if unknown := [name for name in families if name not in FAMILIES]:
        parser.error(f"unknown family '{unknown[0]}'; known: {', '.join(FAMILIES)}")
    if options.repeats < 1 or not options.seconds > 0:
        parser.error("repeats and seconds must be above 0")
    if options.out == RESULT and not options.exports_only:
        require_figures(FIGURE)
    progress = ConsoleProgress()
    builds = {name: exports(name, options.exports, options.again, progress) for name in families}
    if options.exports_only:
        return
    results = document(builds, options.repeats, options.seconds, progress)
    write_json(options.out, results)
    show(results)
    if options.out == RESULT:
        se_cost.cost_figure(results, FIGURE)
        readme.main()


def runtimes() -> list[str]:
    return [name for name in TARGET if AUTOMATIC[name].missing() is None]


def exports(family: str, folder: Path, again: bool, progress: ConsoleProgress) -> list[tuple[str, str, bool, Build]]:
    """(net, weights, is default, build) of a family: each as `export` makes it, some placed otherwise or trained."""
    builds = []
    for net in FAMILIES[family]:
        default = exported(net, folder / net, None, False, again, progress)
        builds.append((net, UNTRAINED, True, default))
        own = next(item.placement for item in default.artifacts if item.precision == "int8")
        builds += [(net, UNTRAINED, False, exported(net, folder / f"{net}-{name}", name, False, again, progress))
                   for name in PLACEMENTS if net in PLACED and name != own]
        if net in BUNDLED:
            builds.append((net, TRAINED, True, exported(net, folder / f"{net}-trained", None, True, again, progress)))
    return builds


def exported(net: str, out: Path, placement: str | None, trained: bool, again: bool,
             progress: ConsoleProgress) -> Build:
    """A build of FP32 and of INT8 for each runtime; one that other versions of packages made is made anew."""
    if not again and (out / MANIFEST).is_file():
        try:
            build = read_build(out)
            for item in build.artifacts:
                check_file(build, item)
            if build.environment["versions"] == environment.versions():
                return build
        except ArtifactError as broken:
            progress.note(f"exported anew: {broken}")
    progress.note(f"exporting to {out}")
    return export(net, untrained=not trained, int8=True, targets=[TARGET[name] for name in runtimes()],
                  calibration=SYNTHETIC, placement=placement, accuracy=False, out=out, progress=progress)


def document(builds: dict[str, list[tuple[str, str, bool, Build]]], repeats: int, seconds: float,
             progress: ConsoleProgress) -> dict[str, Any]:
    """Everything that was found, as JSON."""
    load, place, rows, power = os.getloadavg()[0], Here(1), list[dict[str, Any]](), list[dict[str, Any]]()
    if load > BUSY:
        progress.note(f"the load average was {load:.1f} before anything was timed: this machine is not quiet; compare "
                      "ratios, not times, or wait (exporting counts, too)")
    nets = [net_of(family, net, build) for family, own in builds.items()
            for net, weights, default, build in own if default and weights == UNTRAINED]
    before = place.state()
    for family, own in builds.items():
        for backend in runtimes():
            files = [File(family=family, net=net, weights=weights, is_default=default, artifact=item,
                          model=OnnxModel.read(check_file(build, item), precision=item.precision, target=item.target))
                     for net, weights, default, build in own for item in build.artifacts
                     if item.target == TARGET[backend] or (item.precision == "fp32" and default)]
            latencies = timed(files, backend, repeats, seconds, progress)
            power += [sample for parts in latencies for part in parts for sample in part.power]
            rows += rows_of(files, latencies, backend)
    noisy = [row["cv"] for row in rows if row["cv"] > CV_WARNING]
    if noisy:
        progress.note(f"{len(noisy)} of {len(rows)} files have a coefficient of variation of up to "
                      f"{100 * max(noisy):.1f} %, above {100 * CV_WARNING:g} %: compare ratios, not times")
    commits = sorted({str(build.environment["commit"]) for own in builds.values() for *_, build in own})
    return {"schema": "edge-se/se-cost/1", "threads": 1, "batch": 1, "repeats": repeats, "rounds": ROUNDS,
            "seconds": seconds, "warmup_s": WARM_UP_S, "confidence": CONFIDENCE, "calibration": SYNTHETIC,
            "families": {name: FAMILIES[name][0] for name in builds}, "nets": nets, "rows": rows,
            "load_average": load, "noisy_rows": len(noisy), "export_commits": commits,
            "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                            "commit": environment.commit(),
                            "device": asdict(conditions_of(before, place.state(), power))}}


def net_of(family: str, net: str, build: Build) -> dict[str, Any]:
    """Counts of a net and of its plain one, and what flows through it where it is timed."""
    spec, fp32 = spec_of(net), build.artifacts[0]
    own, plain = size_of(spec), size_of(spec_of(FAMILIES[family][0]))
    return {"family": family, "net": net, "attention": spec.attention, "params": own.params, "macs": own.macs,
            "macs_of_the_file": fp32.macs,  # re-image convolutions of competitive SE are folded there
            "added_params": own.params / plain.params - 1, "added_macs": own.macs / plain.macs - 1,
            "values": values_of(OnnxModel.read(check_file(build, fp32)))}


def values_of(model: OnnxModel) -> dict[str, Any]:
    """Of the image that is timed: counts over all activations and weights, zeros and RMS of the feature maps.

    Denormal numbers are slow on many processors, and a net whose activations die is no net; neither must happen here.
    An excitation's hidden layer is left out of the latter: it may be one value wide, and zero.
    """
    proto = onnx.shape_inference.infer_shapes(model.proto)
    floats = [value for value in proto.graph.value_info if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    proto.graph.output.extend(floats)
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    tensors = [np.asarray(tensor) for tensor in session.run(None, {session.get_inputs()[0].name: feed(model)})]
    weights = [onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer
               if tensor.data_type == onnx.TensorProto.FLOAT]
    tiny = np.finfo(np.float32).tiny
    maps = [tensor for tensor in tensors if tensor.ndim == 4 and tensor.shape[2:] != (1, 1)]
    rms = [float(np.sqrt(np.mean(tensor.astype(np.float64) ** 2))) for tensor in maps]
    return {"tensors": len(tensors), "values": sum(tensor.size for tensor in tensors),
            "weights": sum(tensor.size for tensor in weights),
            "denormals": sum(int(((tensor != 0) & (np.abs(tensor) < tiny)).sum()) for tensor in (*tensors, *weights)),
            "not_finite": sum(int((~np.isfinite(tensor)).sum()) for tensor in (*tensors, *weights)),
            "feature_maps": len(maps), "rms_min": min(rms), "rms_max": max(rms),
            "largest_share_of_zeros": max(float((tensor == 0).mean()) for tensor in maps)}


def feed(model: OnnxModel) -> np.ndarray[Any, np.dtype[np.float32]]:
    """One image of noise, the one that `bench` takes."""
    sizes = (size or 32 for size in model.input_shape[1:])
    return np.random.default_rng(0).standard_normal((1, *sizes), dtype=np.float32)


def timed(files: list[File], backend: str, repeats: int, seconds: float,
          progress: ConsoleProgress) -> list[list[Latencies]]:
    """For each file its samples of each repeat. A session's luck with memory lasts as long as it: hence new ones."""
    latencies: list[list[Latencies]] = [[] for _ in files]
    plan = TimingPlan(min_duration=seconds / ROUNDS, min_runs=MIN_RUNS, warmup=WARM_UP_S)
    random, images = np.random.default_rng(0), feed(files[0].model)
    with progress.task(f"timing {len(files)} files of {files[0].family} in {backend}", repeats) as advance:
        for _ in range(repeats):
            parts: list[list[Latencies]] = [[] for _ in files]
            with ExitStack() as stack:
                sessions: list[Session] = [stack.enter_context(AUTOMATIC[backend].open(file.model, Device(threads=1)))
                                           for file in files]
                for _ in range(ROUNDS):
                    for place in random.permutation(len(files)):  # nobody always follows the same one
                        parts[place].append(sessions[place].time(images, plan))
            for own, turns in zip(latencies, parts):
                own.append(Latencies.joined(turns))
            advance(1)
    return latencies


def rows_of(files: list[File], latencies: list[list[Latencies]], backend: str) -> list[dict[str, Any]]:
    """One row per file; `against` has its time over others' of the same run, which every reader may subtract 1 from."""
    p50 = {file.key: [part.percentile(50) for part in own] for file, own in zip(files, latencies)}
    plain, rows = FAMILIES[files[0].family][0], []
    for place, (file, own) in enumerate(zip(files, latencies)):
        net, weights, precision, placement = file.key
        others = {"plain": (plain, weights, precision, placement), "fp32": (net, weights, "fp32", None),
                  "all": (net, weights, precision, "all"), UNTRAINED: (net, UNTRAINED, precision, placement),
                  "same_file": next((other.key for other in files[:place]
                                     if other.artifact.sha256 == file.artifact.sha256), file.key)}
        rows.append({
            "family": file.family, "net": net, "weights": weights, "backend": backend, "precision": precision,
            "target": file.artifact.target, "placement": placement, "default": file.is_default,
            "sha256": file.artifact.sha256, "bytes": file.artifact.bytes, "p50_ms": statistics.median(p50[file.key]),
            "p50_ms_of_repeats": p50[file.key], "cv": statistics.median(part.cv for part in own),
            "against": {name: median_ratio(p50[file.key], p50[other], CONFIDENCE) for name, other in others.items()
                        if other != file.key and other in p50}})
    return rows


def show(results: dict[str, Any]) -> None:
    """On the console."""
    def cell(row: dict[str, Any], name: str) -> str:
        return f"{row['against'][name]['ratio']:.3f}" if name in row["against"] else DASH

    print_table(["net", "weights", "runtime", "precision", "placement", "p50 ms", "over plain", "over FP32"], [
        [row["net"], row["weights"], row["backend"], row["precision"], row["placement"] or DASH,
         f"{row['p50_ms']:.3f}", cell(row, "plain"), cell(row, "fp32")] for row in results["rows"]], left=5)


if __name__ == "__main__":
    main()
