"""OpenVINO, in the environment that has it: python openvino_run.py JOB.json

JOB: {"images": npy, "models": {name: path}, "logits": folder, "rounds": n, "per_round": n, "accuracy": [names]}
Writes the logits of the models in `accuracy` to `logits`/NAME.npy and prints {name: [p50 of each round in ms]} as one
JSON line; models take turns within a round, 1 thread, static batch of 1.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import openvino


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    core, images = openvino.Core(), np.load(job["images"], mmap_mode="r")
    for name in job["accuracy"]:
        compiled = core.compile_model(core.read_model(job["models"][name]), "CPU", {
            "PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"})
        request = compiled.create_infer_request()
        parts = [request.infer({0: np.ascontiguousarray(images[at : at + 100])})[0].copy()
                 for at in range(0, len(images), 100)]
        np.save(Path(job["logits"], f"{name}.npy"), np.concatenate(parts))
    # FP32 hint: without it OpenVINO runs "FP32" in bfloat16 where the processor can.
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    one, requests = np.ascontiguousarray(images[:1]), {}
    for name, path in job["models"].items():
        model = core.read_model(path)
        model.reshape(list(one.shape))
        requests[name] = core.compile_model(model, "CPU", settings).create_infer_request()
    medians: dict[str, list[float]] = {name: [] for name in requests}
    for _ in range(job["rounds"]):
        for name, request in requests.items():
            samples = []
            for run in range(job["per_round"] + 5):
                before = time.perf_counter()
                request.infer({0: one})
                if run >= 5:  # the others' turns pushed this one out of the caches
                    samples.append(1000 * (time.perf_counter() - before))
            medians[name].append(statistics.median(samples))
    print(json.dumps(medians))


if __name__ == "__main__":
    main()
