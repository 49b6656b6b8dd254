"""What a rule is. To add one: a `Rule` among the `RULES` of a module of `rules`, old or new; `table.py` finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import onnx

from edge_se.graph.view import node_label
from edge_se.quantization.lint.qdq import QdqView

Kind = Literal["wrong", "refused", "lossy", "slow"]
KINDS: dict[Kind, str] = {
    "wrong": "other numbers than the file says, or a file that says others than its net",
    "refused": "the file is not loaded",
    "lossy": "computed as written, and accuracy is given away, or may be",
    "slow": "right numbers, and slower than they need be",
}
FAULTS = ("wrong", "refused")  # exit code 1
RUNTIMES = {
    "onnxruntime": "onnxruntime", "openvino": "OpenVINO", "tensorrt": "TensorRT", "opencv": "OpenCV",
    "tools": "onnxslim, onnxsim, onnxscript", "any": "every runtime",
}
SIMULATED = "simulated"  # the setting of a cost that no run of the runtime itself told


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One place: the node as a message names it, the tensor that it makes, and what is so about it."""

    node: str
    tensor: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`versions` are those in which it was seen, `instead` is what the runtime does, `fix` what to do about it.

    `computed` turns a graph into the one that the runtime computes instead, so that the loss is known where the
    runtime itself is not here. `repair` rewrites a graph so that the rule holds and every number stays; it returns how
    many places it changed, which need not be all.
    """

    name: str
    kind: Kind
    runtime: str
    versions: str
    instead: str
    fix: str
    find: Callable[[QdqView], Iterable[Finding]]
    computed: Callable[[onnx.ModelProto], object] | None = None
    repair: Callable[[onnx.ModelProto], int] | None = None


def seen_in(runtime: str, versions: str) -> str:
    """A rule's runtime with the versions in which it was seen. `versions` of several tools name them themselves."""
    return {"tools": versions, "any": f"{RUNTIMES['any']} ({versions})"}.get(
        runtime, f"{RUNTIMES[runtime]} {versions}")


def found(node: onnx.NodeProto, detail: str) -> Finding:
    """A finding at `node`."""
    return Finding(node=node_label(node), tensor=node.output[0], detail=detail)
