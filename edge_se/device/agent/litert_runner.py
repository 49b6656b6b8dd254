"""A model in LiteRT."""

from __future__ import annotations

import contextlib
import os
import sys

import numpy as np

from .errors import AgentError
from .system import cpu_count
from .timing import timed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

DELEGATE = "DELEGATE"  # what LiteRT calls the node that stands for all that XNNPACK took over in one piece


class LiteRtRunner:
    """A `.tflite` file in LiteRT on the CPU, with XNNPACK, its default; `threads` 0 means all processors.

    The file takes images with their channels last. `axes` tells how they come; `NCHW` ones are turned around. None:
    their shape tells. It cannot where width, height and channels are equal; such images are taken as they come.
    """

    def __init__(self, content: bytes, threads: int, axes: str | None = "NCHW") -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise AgentError("runtime", f"LiteRT cannot be imported ({error})", "pip install ai-edge-litert") from error
        try:
            with _quiet():
                self._interpreter = Interpreter(model_content=content, num_threads=threads or cpu_count())
                self._interpreter.allocate_tensors()
        except Exception as error:  # it raises ValueError and RuntimeError
            raise AgentError("model", f"LiteRT cannot load it ({str(error).splitlines()[0]})",
                             "export again") from error
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._batch, self._axes = int(self._input["shape"][0]), axes

    def run(self, images: Any) -> Floats:
        """What the model takes, images first -> logits (N, classes)."""
        return self._invoked(self._ready(images))

    def time(self, images: Any, plan: dict[str, Any]) -> dict[str, Any]:
        """Wall time of one inference, input and output copies included: `ns` and `window` of `timed`."""
        ready = self._ready(images)
        return timed(lambda: self._invoked(ready), **plan)

    def nodes(self) -> dict[str, int]:
        """`nodes` of the file, and how many of them `xnnpack_nodes` are: XNNPACK computes them."""
        operators = self._interpreter._get_ops_details()  # nothing public tells it
        makers = {int(tensor): operator for operator in operators if operator["op_name"] != DELEGATE
                  for tensor in operator["outputs"]}
        taken = set()
        for piece in (operator for operator in operators if operator["op_name"] == DELEGATE):
            read = {int(tensor) for tensor in piece["inputs"]}
            pending = [int(tensor) for tensor in piece["outputs"]]
            while pending:
                tensor = pending.pop()
                maker = makers.get(tensor)
                if maker is None or tensor in read or maker["index"] in taken:
                    continue
                taken.add(maker["index"])
                pending += [int(source) for source in maker["inputs"]]
        return {"nodes": sum(operator["op_name"] != DELEGATE for operator in operators), "xnnpack_nodes": len(taken)}

    def close(self) -> None:
        """Frees it."""
        del self._interpreter

    def _ready(self, images: Any) -> Any:
        """`images` as they lie in the file, and tensors for so many of them."""
        fits = tuple(images.shape[1:]) == tuple(self._input["shape"][1:])
        if self._axes == "NCHW" or (self._axes is None and not fits):
            images = images.transpose(0, 2, 3, 1)
        if len(images) != self._batch:
            self._interpreter.resize_tensor_input(self._input["index"], images.shape)
            self._interpreter.allocate_tensors()
            self._batch = len(images)
        return np.ascontiguousarray(images)

    def _invoked(self, ready: Any) -> Floats:
        self._interpreter.set_tensor(self._input["index"], ready)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._output), np.float32)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences stderr, to which LiteRT tells once in a process that it uses XNNPACK."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
