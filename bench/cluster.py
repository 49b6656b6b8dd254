"""What a second worker of `--cluster` brings: python bench/cluster.py [--images N] [--rounds N]

slim_se in FP32 on CIFAR-10's test images, in onnxruntime and in OpenVINO, and on JPEG files of 256 pixels that
workers decode. Each row is this process alone on all processors, a local Ray cluster with one worker of one thread, and
one with a worker of one thread for each processor, in turns; medians over the rounds. A cluster's time is that of a
file, its sessions' start included, the cluster's own start apart (`start_s`). Every result is compared with that of
this process alone, bit by bit. Needs Ray and CIFAR-10, and a quiet machine; about four minutes on two cores. Writes
bench/results/cluster.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edge_se.backends.base import Backend
from edge_se.cluster.ray_cluster import RayCluster
from edge_se.core import environment
from edge_se.core.files import write_json
from edge_se.data import cifar10
from edge_se.data.dataset import open_dataset
from edge_se.data.images import Images
from edge_se.data.preprocessing import CIFAR10
from edge_se.data.splits import load
from edge_se.evaluation.accuracy import computed
from edge_se.evaluation.judges import JUDGES
from edge_se.evaluation.on_cluster import sharded
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.source import load_source
from edge_se.reporting.console import print_table

RESULTS = Path(__file__).parent / "results"
MODEL, SIDE = "slim_se", 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=2000, help="of each row")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    os.environ.update(RAY_worker_niceness="0")  # Ray's 15 would measure what else the machine does
    model, processors = load_source(MODEL, None).model, environment.cpu_count()
    test = load("test", cifar10.require()).first(arguments.images)
    with tempfile.TemporaryDirectory() as folder:
        cases = {("onnxruntime", "pixels"): test, ("openvino", "pixels"): test,
                 ("onnxruntime", "JPEG files"): photographs(Path(folder), arguments.images)}
        alone = {case: timed(model, images, JUDGES[case[0]]) for case, images in cases.items()}
        rounds = [{"alone": {case: timed(model, images, JUDGES[case[0]])[0] for case, images in cases.items()},
                   "one": on_workers(1, model, cases, alone), "all": on_workers(processors, model, cases, alone)}
                  for _ in range(arguments.rounds)]
    rows = []
    for case in cases:
        speeds = {kind: [arguments.images / told[kind][case] for told in rounds] for kind in ("alone", "one", "all")}
        gains = [every / one for one, every in zip(speeds["one"], speeds["all"])]
        rows.append({"runtime": case[0], "images_are": case[1],
                     **{f"{kind}_images_s": statistics.median(own) for kind, own in speeds.items()},
                     "gain": statistics.median(gains), "gain_min": min(gains), "gain_max": max(gains)})
    write_json(RESULTS / "cluster.json", {
        "schema": "edge-se/cluster/1", "model": MODEL, "images": arguments.images, "rounds": arguments.rounds,
        "workers": processors, "start_s": statistics.median(told["all"]["start"] for told in rounds), "rows": rows,
        "environment": {"versions": environment.versions() | {"ray": str(environment.version_of("ray"))},
                        "hardware": environment.hardware(), "commit": environment.commit()}})
    print_table(["runtime", "images are", "alone, images/s", "one worker", f"{processors} workers", "gain"],
                [[row["runtime"], row["images_are"], f"{row['alone_images_s']:.1f}", f"{row['one_images_s']:.1f}",
                  f"{row['all_images_s']:.1f}", f"{row['gain']:.2f}"] for row in rows], left=2)


def photographs(folder: Path, count: int) -> Images:
    """JPEG files of smooth noise."""
    random = np.random.default_rng(0)
    path = folder / "test" / "any"
    path.mkdir(parents=True)
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path / f"{number:05}.jpg", quality=90)
    return open_dataset(folder).split("test", replace(CIFAR10, labels=()))


def timed(model: OnnxModel, images: Images, judge: Backend) -> tuple[float, Any]:
    """Seconds, and logits, in this process."""
    start = time.perf_counter()
    logits = computed(model, images.take(np.arange(len(images))), judge, lambda images: None)
    return time.perf_counter() - start, logits


def on_workers(count: int, model: OnnxModel, cases: dict[tuple[str, str], Images],
               alone: dict[tuple[str, str], tuple[float, Any]]) -> dict[Any, float]:
    """Seconds of each case on `count` workers of one thread, and of the cluster's `start`."""
    os.environ[environment.MOST_PROCESSORS] = str(count)
    try:
        with RayCluster(count) as cluster:
            start = time.perf_counter()
            first = next(iter(cases))
            sharded(cluster, model, cases[first].first(100), JUDGES[first[0]], lambda images: None)
            seconds: dict[Any, float] = {"start": time.perf_counter() - start}
            for case, images in cases.items():
                start = time.perf_counter()
                logits = sharded(cluster, model, images, JUDGES[case[0]], lambda images: None)
                seconds[case] = time.perf_counter() - start
                assert logits.tobytes() == alone[case][1].tobytes(), f"other bits: {case}, {count} workers"
    finally:
        del os.environ[environment.MOST_PROCESSORS]
    return seconds


if __name__ == "__main__":
    main()
