"""How far measured latencies are from the roofline: python bench/estimator.py   (about six minutes on two cores)

The peaks of this machine come from microbenchmarks alone, one thread: chains of one operator in each runtime (the time
of one is the slope over the length of the chain, so that what a call costs falls out) and copies in numpy. Nets are
then timed, all files of a net in turns, and compared with what `bench --estimate` computes from their graphs. Nothing
is fitted to the rows that are judged. Writes bench/results/estimator.json, which the wheel has, too, since
`bench --estimate` tells the error, and estimator-rows.json with every row; refreshes the documents.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import nn

from bench.peaks import PRECISIONS, ROUNDS, files, machine_figures, measured_chains, pictures, runtimes, timed
from bench.tables import readme
from edge_se.core import environment
from edge_se.core.files import write_json
from edge_se.data import calibration
from edge_se.data.images import Images
from edge_se.data.torchvision_import import torchvision
from edge_se.graph.counting import count
from edge_se.graph.export import to_onnx
from edge_se.graph.metadata import ModelMetadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.source import load_source
from edge_se.measure.boards import Mode
from edge_se.measure.roofline import Kernel, estimate, kernels_of
from edge_se.nets.spec import ModelSpec
from edge_se.nets.zoo import build
from edge_se.reporting.console import ConsoleProgress

RESULTS = Path(__file__).parent / "results"
BATCHES = (1, 8)
VARIANTS = ("machine", "own_peaks", "without_launches", "main_memory")  # ways to estimate; the first is the headline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="of timing per row, at least")
    parser.add_argument("nets", nargs="*", choices=[[], *nets()], metavar="NET", help="only these, to try it out")
    arguments = parser.parse_args()
    progress, started = ConsoleProgress(), time.monotonic()
    chains = list(measured_chains(arguments.seconds / 4, progress))
    figures = machine_figures(chains, arguments.seconds / 4, progress)
    for row in chains:
        row |= judged(row.pop("kernels"), figures, row["backend"], 1, row["measured_ms"])
    rows: list[dict[str, Any]] = []
    for name, make in nets().items():
        if not arguments.nets or name in arguments.nets:
            rows += judged_net(name, *make(), figures, arguments.seconds, progress)
    write_json(RESULTS / "estimator.json", {
        "schema": "edge-se/estimator/1", "threads": 1, "rounds": ROUNDS, "seconds_per_row": arguments.seconds,
        "figures": figures, "summary": summary(rows), "speedups": speedups(rows),
        "noise": noise(rows), "seconds": time.monotonic() - started,
        "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                        "commit": environment.commit()}})
    write_json(RESULTS / "estimator-rows.json", {"schema": "edge-se/estimator-rows/1", "chains": chains, "rows": rows})
    readme.main()


def nets() -> dict[str, Callable[[], tuple[OnnxModel, Images]]]:
    """The bundled nets with their weights, others of another size with random ones; each with calibration images."""
    wide, small = (64, 128, 256, 512), (16, 32, 64)
    specs = {"resnet20, 32 px": ModelSpec(name="resnet20", blocks=(3, 3, 3), widths=small),
             "se_resnet18, stem 3/2, 64 px": ModelSpec(name="se_stem3", stem="paper3s2", attention="se", input_size=64),
             "resnet18, half width, 64 px": ModelSpec(name="half", widths=(32, 64, 128, 256), input_size=64),
             "resnet18, stem 7/2, 224 px": ModelSpec(name="stem7", stem="imagenet7", widths=wide, input_size=224)}
    chosen: dict[str, Callable[[], tuple[OnnxModel, Images]]] = {
        name: partial(bundled, name) for name in readme.MODELS}
    chosen |= {name: partial(random_net, spec) for name, spec in specs.items()}
    for name, size in (("mobilenet_v2", 32), ("mobilenet_v2", 224), ("mobilenet_v3_small", 224), ("resnet50", 224)):
        chosen[f"{name}, {size} px"] = partial(torchvision_net, name, size)
    return chosen


def bundled(name: str) -> tuple[OnnxModel, Images]:
    return load_source(name, None).model, calibration.load(calibration.SYNTHETIC, None).first(64)


def random_net(spec: ModelSpec) -> tuple[OnnxModel, Images]:
    return exported(build(spec), spec.input_size)


def torchvision_net(name: str, size: int) -> tuple[OnnxModel, Images]:
    return exported(torchvision.models.get_model(name, weights=None, num_classes=10), size)


def exported(net: nn.Module, size: int) -> tuple[OnnxModel, Images]:
    """Random weights, batch norms that have seen the pictures: speed does not depend on what a net has learned."""
    torch.manual_seed(0)
    images = pictures(size)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=0.1)  # the exporter drops biases that are all zero
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.from_numpy(next(images.batches(len(images)))))
    return OnnxModel.of(to_onnx(net, ModelMetadata(model="random"), size)), images


def judged_net(name: str, model: OnnxModel, images: Images, figures: dict[str, Any], seconds: float,
               progress: ConsoleProgress) -> Iterator[dict[str, Any]]:
    """One row per runtime, precision and batch."""
    graphs, counts = files(model, images), count(model.proto)
    depthwise = any(attribute.name == "group" and attribute.i > 1
                    for node in model.proto.graph.node for attribute in node.attribute)
    for batch in BATCHES:
        samples = timed({key: (key[0], graph) for key, graph in graphs.items()}, batch, seconds)
        for (backend, precision), parts in samples.items():
            pooled, kernels = np.concatenate(parts), kernels_of(graphs[backend, precision].proto, "fp32")
            rounds = np.array([np.median(part) for part in parts])
            row = {"net": name, "backend": backend, "precision": precision, "batch": batch, "depthwise": depthwise,
                   "macs": counts.macs, "params": counts.params, "kernels": len(kernels), "samples": len(pooled),
                   "measured_ms": float(np.median(pooled)), "cv": float(pooled.std() / pooled.mean()),
                   "cv_of_rounds": float(rounds.std() / rounds.mean())}
            row |= judged(kernels, figures, backend, batch, row["measured_ms"])
            progress.note(f"{name}, {backend} {precision}, batch {batch}: {row['measured_ms']:.3f} ms, "
                          f"{row['ratio']['machine']:.2f} times the estimate, CV {100 * row['cv']:.1f} %")
            yield row


def judged(kernels: list[Kernel], figures: dict[str, Any], backend: str, batch: int,
           measured_ms: float) -> dict[str, Any]:
    """Each variant's estimate in milliseconds, and measured over estimated."""
    modes = {name: Mode(**fields) for name, fields in figures["modes"].items()}
    launch_us = max(0.0, figures["dispatch_us"][backend])
    chosen = {"machine": (modes["machine"], launch_us), "own_peaks": (modes[backend], launch_us),
              "without_launches": (modes["machine"], 0.0), "main_memory": (modes["main_memory"], launch_us)}
    estimates = {name: estimate(kernels, own, "fp32", batch=batch, launch_us=launch).milliseconds
                 for name, (own, launch) in chosen.items()}
    return {"estimate_ms": estimates, "ratio": {name: measured_ms / value for name, value in estimates.items()}}


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per group of rows: geometric mean and spread of measured over estimated, and the rank correlation of both."""
    groups: dict[str, tuple[str, list[dict[str, Any]]]] = {"all": ("machine", rows)}
    groups |= {f"all, {variant}": (variant, rows) for variant in VARIANTS[1:]}
    groups |= {f"{backend}, {precision}": ("machine", [row for row in rows if (row["backend"], row["precision"]) == (
        backend, precision)]) for backend in runtimes() for precision in PRECISIONS}
    groups |= {f"batch {batch}": ("machine", [row for row in rows if row["batch"] == batch]) for batch in BATCHES}
    groups |= {name: ("machine", [row for row in rows if row["depthwise"] == value])
               for name, value in (("depthwise nets", True), ("other nets", False))}
    return [{"group": name, "variant": variant, **spread([row["ratio"][variant] for row in own]),
             "rank_correlation": correlation([row["estimate_ms"][variant] for row in own],
                                             [row["measured_ms"] for row in own])}
            for name, (variant, own) in groups.items() if own]


def noise(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Coefficients of variation over the rows: of all samples, and of the medians of the rounds."""
    return {f"{name}_{kind}": float(chosen([row[name] for row in rows]))
            for name in ("cv", "cv_of_rounds") for kind, chosen in (("median", np.median), ("max", np.max))}


def spread(ratios: list[float]) -> dict[str, float]:
    """Geometric mean and nearest-rank percentiles."""
    low, high = np.percentile(ratios, [10, 90], method="inverted_cdf")
    return {"n": len(ratios), "geometric_mean": float(stats.gmean(ratios)), "p10": float(low), "p90": float(high),
            "min": min(ratios), "max": max(ratios)}


def correlation(one: list[float], other: list[float]) -> float:
    """Spearman's rank correlation."""
    return float(stats.spearmanr(one, other).statistic)


def speedups(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """FP32 over INT8, measured and estimated, of each net, runtime and batch, then the spread per runtime."""
    pairs: dict[tuple[str, str, int], dict[str, dict[str, Any]]] = {}
    for row in rows:
        pairs.setdefault((row["net"], row["backend"], row["batch"]), {})[row["precision"]] = row
    compared = []
    for backend in runtimes():
        for variant in ("machine", "own_peaks"):
            own = [pair for (_, name, _), pair in pairs.items() if name == backend]
            measured = [pair["fp32"]["measured_ms"] / pair["int8"]["measured_ms"] for pair in own]
            estimated = [pair["fp32"]["estimate_ms"][variant] / pair["int8"]["estimate_ms"][variant] for pair in own]
            compared.append({
                "backend": backend, "variant": variant, "measured": float(stats.gmean(measured)),
                "estimated": float(stats.gmean(estimated)), "rank_correlation": correlation(estimated, measured),
                **spread([true / guess for true, guess in zip(measured, estimated)]),
                "same_side_of_1": sum((true > 1) == (guess > 1) for true, guess in zip(measured, estimated))})
    return compared


if __name__ == "__main__":
    main()
