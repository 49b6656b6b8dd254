"""What one thread of this machine reaches: peaks, bandwidths and the price of a kernel, for bench/estimator.py.

Chains of one operator in each runtime: the time of one is the slope over the length of the chain, so that what a call
costs falls out. Of several rounds the fastest median counts: other work on the machine only ever adds time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edge_se.backends.base import Device, Session
from edge_se.backends.table import AUTOMATIC
from edge_se.core import environment
from edge_se.data.images import Images
from edge_se.data.splits import ImageSet
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.boards import Figure, Mode
from edge_se.measure.roofline import kernels_of
from edge_se.measure.timing import TimingPlan
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS
from edge_se.reporting.console import ConsoleProgress

ROUNDS, PRECISIONS = 5, ("fp32", "int8")
TARGET = {"onnxruntime": "cpu" if environment.has_fast_int8() else "cpu-avx2", "openvino": "openvino"}
NOTE = "measured by bench/estimator.py, one thread"
CACHE_MIB, MEMORY_MIB = 16, 512  # per array: beyond a core's own cache; beyond most last-level caches

Files = dict[tuple[str, str], OnnxModel]  # by (runtime, precision)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Equal convolutions with ReLU, one behind the other; `lengths` give the slope."""

    channels: int
    size: int
    kernel: int
    depthwise: bool = False
    lengths: tuple[int, int] = (2, 6)

    def model(self, length: int) -> OnnxModel:
        """image -> 1 x 1 convolution to `channels` -> `length` convolutions -> mean over the pixels."""
        random, inner = np.random.default_rng(0), 1 if self.depthwise else self.channels
        nodes, constants, pads = [], [], [self.kernel // 2] * 4
        for position in range(length + 1):
            shape = (self.channels, inner, self.kernel, self.kernel) if position else (self.channels, 3, 1, 1)
            weight = random.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
            constants.append(numpy_helper.from_array(weight, f"w{position}"))
            conv = helper.make_node("Conv", [f"r{position - 1}" if position else "images", f"w{position}"],
                                    [f"c{position}"], name=f"conv{position}")
            if position:
                conv.attribute.append(helper.make_attribute("pads", pads))
            if self.depthwise and position:
                conv.attribute.append(helper.make_attribute("group", self.channels))
            nodes.append(conv)
            nodes.append(helper.make_node("Relu", [f"c{position}"], [f"r{position}"], name=f"relu{position}"))
        nodes += [helper.make_node("GlobalAveragePool", [f"r{length}"], ["pooled"], name="pool"),
                  helper.make_node("Flatten", ["pooled"], ["logits"], name="flatten")]
        shapes: dict[str, list[str | int | None]] = {
            "images": ["batch", 3, self.size, self.size], "logits": ["batch", self.channels]}
        images, logits = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                          for name, shape in shapes.items())
        graph = helper.make_graph(nodes, "chain", [images], [logits], constants)
        return OnnxModel.of(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


DISPATCH = "1 x 1, 4 channels, 4 px"  # next to no work: what is left is the price of one kernel
CHAINS = {"3 x 3, 256 channels, 32 px": Chain(channels=256, size=32, kernel=3),
          "1 x 1, 512 channels, 32 px": Chain(channels=512, size=32, kernel=1),
          DISPATCH: Chain(channels=4, size=4, kernel=1, lengths=(8, 72)),
          "3 x 3, 64 channels, 32 px": Chain(channels=64, size=32, kernel=3, lengths=(2, 10)),
          "3 x 3, 512 channels, 4 px": Chain(channels=512, size=4, kernel=3, lengths=(1, 4)),
          "3 x 3 depthwise, 256 channels, 32 px": Chain(channels=256, size=32, kernel=3, depthwise=True,
                                                        lengths=(2, 12))}


def measured_chains(seconds: float, progress: ConsoleProgress) -> Iterator[dict[str, Any]]:
    """One row per chain, runtime and precision: milliseconds of one operator, and the kernels that the slope is of."""
    for name, chain in CHAINS.items():
        short, long = (files(chain.model(length), pictures(chain.size), "se-float") for length in chain.lengths)
        steps = chain.lengths[1] - chain.lengths[0]
        for (backend, precision), model in long.items():
            pair = {"short": short[backend, precision], "long": model}
            samples = timed({key: (backend, graph) for key, graph in pair.items()}, 1, seconds)
            fastest = {key: min(float(np.median(part)) for part in parts) for key, parts in samples.items()}
            milliseconds = (fastest["long"] - fastest["short"]) / steps
            kernels = kernels_of(model.proto, "fp32")
            each = (len(kernels) - len(kernels_of(short[backend, precision].proto, "fp32"))) // steps
            kernels = kernels[each:2 * each]  # those of the first link behind the one that reads the image
            tops = 2e-9 * sum(kernel.macs for kernel in kernels) / milliseconds
            progress.note(f"{name}, {backend} {precision}: {1000 * milliseconds:.2f} us, {tops:.3f} TOPS")
            yield {"chain": name, "backend": backend, "precision": precision, "measured_ms": milliseconds,
                   "tops": tops, "kernels": kernels}


def machine_figures(chains: list[dict[str, Any]], seconds: float, progress: ConsoleProgress) -> dict[str, Any]:
    """Peaks per runtime, bandwidth (10^9 bytes a second) per level of memory, dispatch in microseconds per runtime."""
    peaks = {backend: {precision: max(row["tops"] for row in chains if (row["backend"], row["precision"]) == (
        backend, precision)) for precision in PRECISIONS}
             for backend in runtimes()}
    dispatch = {row["backend"]: 1000 * row["measured_ms"] for row in chains
                if row["chain"] == DISPATCH and row["precision"] == "fp32"}
    levels = {"cache": bandwidths(CACHE_MIB, seconds), "main_memory": bandwidths(MEMORY_MIB, seconds)}
    progress.note(f"GB/s: {levels}")
    best = {precision: max(own[precision] for own in peaks.values()) for precision in PRECISIONS}
    cache, memory = (max(levels[level].values()) for level in ("cache", "main_memory"))
    modes = {"machine": mode("this machine", best, cache), "main_memory": mode("cold caches", best, memory)}
    modes |= {backend: mode(backend, own, cache) for backend, own in peaks.items()}
    return {"tops": peaks, "dispatch_us": dispatch, "gbs": levels, "cache_mib": CACHE_MIB, "memory_mib": MEMORY_MIB,
            "modes": {name: fields.model_dump() for name, fields in modes.items()}}


def mode(name: str, tops: dict[str, float], gbs: float) -> Mode:
    """FP32 is entered as half of FP16, as the estimator takes it; no FP16 is estimated from it."""
    return Mode(name=name, int8_tops=Figure(value=tops["int8"], kind="computed", note=NOTE),
                fp16_tflops=Figure(value=2 * tops["fp32"], kind="computed", note=f"twice the FP32 peak, {NOTE}"),
                memory_gbs=Figure(value=gbs, kind="computed", note=NOTE))


def bandwidths(mib: int, seconds: float) -> dict[str, float]:
    """GB/s of reading, copying and adding arrays of `mib` MiB each, by the median time."""
    a, b, c = (np.ones(mib * 2**18, np.float32) for _ in range(3))
    calls: dict[str, tuple[int, Callable[[], object]]] = {
        "read": (1, a.max), "copy": (2, lambda: np.copyto(c, a)), "add": (3, lambda: np.add(a, b, out=c))}
    by_name = {}
    for name, (arrays, call) in calls.items():
        samples: list[float] = []
        end = time.perf_counter() + seconds
        call()
        while time.perf_counter() < end or len(samples) < ROUNDS:
            before = time.perf_counter()
            call()
            samples.append(time.perf_counter() - before)
        by_name[name] = arrays * a.nbytes / 1e9 / float(np.median(samples))
    return by_name


def pictures(size: int) -> ImageSet:
    """Eight pictures of coarse blobs: noise alone excites no deep feature."""
    coarse = max(2, size // 8)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 3, coarse, coarse), dtype=np.uint8)
    factor = size // coarse
    return ImageSet(name="random pictures", split="calibration", labels=None,
                    pixels=np.ascontiguousarray(pixels.repeat(factor, 2).repeat(factor, 3)))


def runtimes() -> list[str]:
    return [name for name in TARGET if AUTOMATIC[name].missing() is None]


def files(model: OnnxModel, images: Images, placement: str | None = None) -> Files:
    """The FP32 graph and each runtime's own INT8 graph; the ranges are extremes, since no choice of them costs time."""
    statistics = collect(model, images)
    int8 = {backend: quantize(model, statistics.ranges("minmax", target.activations), target,
                              place(model.proto, target, placement))
            for backend, target in ((name, TARGETS[TARGET[name]]) for name in runtimes())}
    return {(backend, precision): model if precision == "fp32" else int8[backend]
            for backend in runtimes() for precision in PRECISIONS}


def timed(graphs: dict[Any, tuple[str, OnnxModel]], batch: int, seconds: float) -> dict[Any, list[Any]]:
    """Milliseconds of each graph in its runtime, an array per round; all graphs in turns, one thread."""
    plan = TimingPlan(min_duration=seconds / ROUNDS, min_runs=3, warmup=0.05)
    samples: dict[Any, list[Any]] = {key: [] for key in graphs}
    with ExitStack() as stack:
        sessions: dict[Any, Session] = {key: stack.enter_context(AUTOMATIC[backend].open(model, Device(threads=1)))
                                        for key, (backend, model) in graphs.items()}
        size = next(iter(graphs.values()))[1].input_shape[2] or 32
        images = np.random.default_rng(0).standard_normal((batch, 3, size, size), dtype=np.float32)
        for _ in range(ROUNDS):
            for key, session in sessions.items():
                samples[key].append(session.time(images, plan).milliseconds)
    return samples
