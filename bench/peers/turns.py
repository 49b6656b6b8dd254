"""Files of several runtimes in one process, on one thread, in turns: python -m bench.peers.turns JOB.json

A FILE in the place of JOB.json is opened, and that is all: its last line tells why it cannot be.

JOB: {"images": npy, "files": {name: path}, "rounds": n, "logits": {name: npy}}
Writes the logits of the files that `logits` names, and prints {name: [[processor's ms, wall ms] of each round]} as its
last line: medians of the runs of one image, which lies as the file takes it; copies are
included. The suffix of a file says what runs it: .onnx, .tflite or .pte.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.device.agent import OnnxRuntimeRunner

Images = NDArray[np.float32]
WARM_S, TURN_S, FEWEST = 0.05, 0.15, 20  # seconds and runs of a turn; the others' turns pushed this file out of caches


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A file in its runtime: `ready` makes of one normalised image (1, 3, H, W) what `run` takes, for its logits."""

    ready: Callable[[Images], Any]
    run: Callable[[Any], NDArray[Any]]


def main() -> None:
    if Path(sys.argv[1]).suffix in OPENERS:
        load(Path(sys.argv[1]))
        return
    job = json.loads(Path(sys.argv[1]).read_text())
    images, loaded = np.load(job["images"]), {name: load(Path(path)) for name, path in job["files"].items()}
    for name, out in job["logits"].items():
        own = loaded[name]
        np.save(out, np.concatenate([own.run(own.ready(image[None])) for image in images]))
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in loaded}
    for _ in range(job["rounds"]):
        for name, own in loaded.items():
            turns[name].append(turn(own, images[:1]))
    print(json.dumps(turns))


def load(path: Path) -> Loaded:
    """By the suffix of the file: .onnx, .tflite or .pte; one thread, else as the runtime comes."""
    return OPENERS[path.suffix](path)


def in_onnxruntime(path: Path) -> Loaded:
    """The session that edge-se takes, too."""
    return Loaded(ready=lambda image: image, run=OnnxRuntimeRunner(path.read_bytes(), 1).run)


def in_litert(path: Path) -> Loaded:
    """XNNPACK takes what it can, LiteRT's default; integers of a file that is all integers stay what they are."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    source, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]

    def run(image: NDArray[Any]) -> NDArray[Any]:
        interpreter.set_tensor(source["index"], image)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(answer))
    return Loaded(ready=lambda image: as_taken(image, source), run=run)


def as_taken(image: Images, source: dict[str, Any]) -> NDArray[Any]:
    """An image (1, 3, H, W) in the order and the type of the input that LiteRT describes as `source`."""
    placed = image if image.shape == tuple(source["shape"]) else image.transpose(0, 2, 3, 1)
    scale, zero_point = source["quantization"]
    if scale:
        placed = np.clip(np.round(placed / scale) + zero_point, -128, 127)
    return np.ascontiguousarray(placed, source["dtype"])


def in_executorch(path: Path) -> Loaded:
    """Its method `forward`."""
    import torch
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    _unsafe_reset_threadpool(1)
    method = Runtime.get().load_program(path).load_method("forward")
    return Loaded(ready=torch.from_numpy, run=lambda image: np.asarray(method.execute((image,))[0].numpy()))


def turn(own: Loaded, image: Images) -> tuple[float, float]:
    """Medians of the processor's and of wall milliseconds."""
    ready, run = own.ready(image), own.run
    end = time.perf_counter() + WARM_S
    while time.perf_counter() < end:
        run(ready)
    processor, wall = list[float](), list[float]()
    end += TURN_S
    while len(wall) < FEWEST or time.perf_counter() < end:
        before = time.perf_counter_ns(), time.process_time_ns()
        run(ready)
        after = time.perf_counter_ns(), time.process_time_ns()
        wall.append((after[0] - before[0]) / 1e6)
        processor.append((after[1] - before[1]) / 1e6)
    return statistics.median(processor), statistics.median(wall)


OPENERS = {".onnx": in_onnxruntime, ".tflite": in_litert, ".pte": in_executorch}

if __name__ == "__main__":
    main()
