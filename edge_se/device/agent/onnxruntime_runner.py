"""A model in onnxruntime."""

from __future__ import annotations

import numpy as np

from .errors import AgentError
from .system import cpu_count
from .timing import timed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


class OnnxRuntimeRunner:
    """A model in onnxruntime on the CPU; `threads` 0 means all processors.

    `as_written`: the graph is not rewritten at all; `without`: not by the rewritings of these names.
    """

    def __init__(self, content: bytes, threads: int, as_written: bool = False, without: Sequence[str] = ()) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise AgentError("runtime", f"onnxruntime cannot be imported ({error})",
                             "pip install onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or cpu_count()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if as_written:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # Spinning threads between runs would take the processor from whatever is measured next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if threads == 1 else "0")
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"],
                                                         disabled_optimizers=list(without))
        except Exception as error:  # onnxruntime's own exceptions share no base class
            raise AgentError("model", "onnxruntime cannot load it "
                             f"({str(error).splitlines()[0]})", "export again") from error
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name

    def run(self, images: Any) -> Floats:
        """What the model takes, images first -> logits (N, classes)."""
        return np.asarray(self._session.run([self._output], {self._input: images})[0], dtype=np.float32)

    def time(self, images: Floats, plan: dict[str, Any]) -> dict[str, Any]:
        """Wall time of `session.run`, input and output copies included: `ns` and `window` of `timed`."""
        feed, outputs, run = {self._input: images}, [self._output], self._session.run
        return timed(lambda: run(outputs, feed), **plan)

    def close(self) -> None:
        """Frees the session."""
        del self._session
