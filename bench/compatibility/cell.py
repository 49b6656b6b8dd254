"""One cell: `python -m bench.compatibility.cell REQUEST` prints what a runtime makes of a file, as one JSON object.

loads               whether the runtime loads and runs it; `reason` has its words where not
form                of the file, where the runtime does not take it as it is
images, flips       how many answers differ from those of FP32 in onnxruntime
floats              the type in which it computes what is not INT8
layers, int8_layers convolutions, or what the runtime makes of them, and those that run in integers; `seen_in` says
                    where that was read; None: the runtime does not tell
int8_mac_share      instead of both: of the MACs that the file has in INT8, the part that runs in INT8
time_over_fp32      of the same runtime, one thread, batch 1: the median of the ratios of ROUNDS turns of both files,
                    whose 95 % interval is `time_ci`; `p50_ms` and `fp32_p50_ms`
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from bench.compatibility.runtimes import RUNTIMES
from edge_se.backends.base import Session
from edge_se.core.errors import EdgeSeError
from edge_se.evaluation.accuracy import flips
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import Latencies, TimingPlan

ROUNDS = 9
PLAN = TimingPlan(min_duration=0.15, min_runs=5, warmup=0.1)
BATCH = 50
WARM = 200
LONGEST = 160  # characters of a reason


def cell(request: dict[str, Any]) -> dict[str, Any]:
    """What the module's docstring lists."""
    runtime = RUNTIMES[request["runtime"]]
    # Of no target: a runtime does with the file what it does without edge-se.
    model = OnnxModel.read(Path(request["file"]), precision=request["precision"])
    fp32 = OnnxModel.read(Path(request["fp32"]))
    try:
        if runtime.open is None:
            return {"loads": True, "reason": None} | runtime.layers(model, None)
        with ExitStack() as stack:
            session = stack.enter_context(runtime.open(model))
            images = np.load(request["images"])[: runtime.images]
            logits = np.concatenate([session.run(images[at:at + BATCH]) for at in range(0, len(images), BATCH)])
            reference = np.load(request["reference"])[: len(images)]
            told: dict[str, Any] = {"loads": True, "reason": None, "images": len(images),
                                    "flips": flips(logits, reference)}
            if runtime.form:
                told["form"] = runtime.form
            told |= {"floats": session.floats(images[:1])} | runtime.layers(model, session)
            if runtime.timed and model.sha256 != fp32.sha256:
                baseline = stack.enter_context(runtime.open(fp32))
                # As warm as the other: WebAssembly is compiled while it runs.
                for at in range(0, min(WARM, len(images)), BATCH):
                    baseline.run(images[at:at + BATCH])
                told |= compared(session, baseline, images[:1])
            return told
    except EdgeSeError as error:
        return {"loads": False, "reason": shortened(error.what)}


def compared(session: Session, fp32: Session, image: Any) -> dict[str, Any]:
    """Both in turns, so that drift of the machine hits both alike."""
    turns = [(session.time(image, PLAN), fp32.time(image, PLAN)) for _ in range(ROUNDS)]
    own, theirs = (Latencies.joined(list(parts)) for parts in zip(*turns))
    ratios = sorted(mine / other for mine, other in zip(own.rounds, theirs.rounds))
    return {"time_over_fp32": ratios[ROUNDS // 2], "time_ci": [ratios[1], ratios[-2]], "p50_ms": own.percentile(50),
            "fp32_p50_ms": theirs.percentile(50), "cv": own.cv, "fp32_cv": theirs.cv}


def shortened(words: str) -> str:
    """The words of a runtime in one line that fits into a table."""
    line = " ".join(words.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST - 1].rstrip()}…"


if __name__ == "__main__":
    print(json.dumps(cell(json.loads(sys.argv[1]))))
