"""TensorFlow Lite for Microcontrollers (TFLM): what its own interpreter makes of a `.tflite` file, on this machine.

    python -m edge_se.backends.tflm FOLDER

runs `model.tflite` on the images of `images.npy` in that folder, in TFLM and in LiteRT's reference kernels, and prints
one JSON object. TFLM tells its arena on stderr alone.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.children import run_module
from edge_se.core.environment import importable, version_of
from edge_se.core.errors import UnavailableError

INSTALL = "pip install 'edge-se[microcontrollers]'"
TIMEOUT_S = 180.0
IMAGES_S = 60.0       # after which no further image is run: TFLM's kernels for a host are plain loops
ARENA = 256 * 2**20   # bytes that TFLM may take; what it took is told
MODEL, IMAGES = "model.tflite", "images.npy"
_TOTAL = re.compile(r"Arena allocation total (\d+) bytes")


def tflm_check(content: bytes, images: NDArray[Any]) -> dict[str, Any]:
    """What TFLM makes of a file: `version`, and `refusal` in its words or the figures below.

    arena_bytes         working memory, without the file and the program; pointers have this machine's size
    images              how many of `images` (N, height, width, channels) were run before IMAGES_S were over
    bit_equal           how many of them have the outputs of LiteRT's reference kernels to the bit
    largest_difference  of any output

    Raises UnavailableError where tflite-micro or ai-edge-litert is not installed.
    """
    for module, package in (("tflite_micro", "tflite-micro"), ("ai_edge_litert", "ai-edge-litert")):
        if not importable(module):
            raise UnavailableError(f"{package} is not installed", where="TFLM", fix=INSTALL)
    version = version_of("tflite-micro")
    with TemporaryDirectory(prefix="edge-se-") as folder:
        Path(folder, MODEL).write_bytes(content)
        np.save(Path(folder, IMAGES), images)
        ended = run_module("edge_se.backends.tflm", folder, timeout=TIMEOUT_S)
    if ended.failure is not None:
        return {"version": version, "refusal": ended.failure}
    answer: dict[str, Any] = json.loads(ended.out.splitlines()[-1])
    if "refusal" in answer:
        return {"version": version, "refusal": _in_tflms_words(answer["refusal"], ended.said)}
    total = _TOTAL.search(ended.said)
    assert total is not None  # TFLM prints it for every file that ran
    return {"version": version, "arena_bytes": int(total[1]), **answer}


def buffers_behind(content: bytes) -> int:
    """How many constants of a `.tflite` file lie behind its flatbuffer, where TFLM does not look for them."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content)
    return sum(model.Buffers(index).Offset() > 1 for index in range(model.BuffersLength()))


def compared(content: bytes, images: NDArray[Any]) -> dict[str, Any]:
    """The part that runs in the new process."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
    from tflite_micro.python.tflite_micro import runtime

    if behind := buffers_behind(content):
        return {"refusal": f"{behind} of its constants lie behind the flatbuffer, and TFLM would read others instead"}
    try:
        micro = runtime.Interpreter.from_bytes(content, arena_size=ARENA)
        micro.set_input(images[:1], 0)
        micro.invoke()
    except (RuntimeError, ValueError) as error:
        return {"refusal": str(error)}
    micro.print_allocations()
    lite = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    lite.allocate_tensors()
    first, last = lite.get_input_details()[0]["index"], lite.get_output_details()[0]["index"]
    equal, largest, count, end = 0, 0.0, 0, monotonic() + IMAGES_S
    for image in images:
        micro.set_input(image[None], 0)
        micro.invoke()
        lite.set_tensor(first, image[None])
        lite.invoke()
        own, other = micro.get_output(0), lite.get_tensor(last)
        equal += own.tobytes() == other.tobytes()
        largest = max(largest, float(np.abs(own.astype(np.float64) - other).max()))
        count += 1
        if monotonic() > end:
            break
    return {"images": count, "bit_equal": equal, "largest_difference": largest}


def _in_tflms_words(refusal: str, said: str) -> str:
    """The exception names no reason; TFLM prints it before."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f"{refusal} ({lines[0]})" if lines else refusal


if __name__ == "__main__":
    own_folder = Path(sys.argv[1])
    print(json.dumps(compared((own_folder / MODEL).read_bytes(), np.load(own_folder / IMAGES))))
