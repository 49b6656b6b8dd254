"""Grouped convolutions that are slower in INT8 than in FP32."""

from __future__ import annotations

from collections.abc import Iterator

from edge_se.graph.targets.table import TARGETS
from edge_se.graph.view import attribute
from edge_se.quantization.lint.base import Finding, Rule, found
from edge_se.quantization.lint.qdq import QdqView


def narrow_for_onnxruntime(view: QdqView) -> Iterator[Finding]:
    """Groups of few channels, and depthwise convolutions with more outputs than inputs."""
    return _narrow(view, TARGETS["cpu"].narrow_group)


def narrow_for_openvino(view: QdqView) -> Iterator[Finding]:
    """Depthwise convolutions with more outputs than inputs."""
    return _narrow(view, TARGETS["openvino"].narrow_group)


def _narrow(view: QdqView, most: int) -> Iterator[Finding]:
    for layer in view.layers:
        groups = attribute(layer.node, "group", 1)
        weights = view.weights(layer) if layer.node.op_type == "Conv" and groups != 1 else None
        if weights is None:
            continue
        outputs, channels = weights.shape[:2]
        if channels <= most and (outputs, channels) != (groups, 1):
            yield found(layer.node, f"{groups} groups of {channels} channel{'s' * (channels > 1)}, {outputs} outputs")


RULES = (
    Rule(name="narrow-groups", kind="slow", runtime="onnxruntime", versions="1.31.1, x86 with VNNI",
         instead="no fast INT8 kernel for groups of 2 to 4 channels, nor for depthwise convolutions with more outputs "
                 "than inputs: 0.2 to 1.6 times FP32's speed (bench/grouped.py)",
         fix="leave them in float", find=narrow_for_onnxruntime),
    Rule(name="wide-depthwise", kind="slow", runtime="openvino", versions="2026.4.1",
         instead="no fast INT8 kernel for depthwise convolutions with more outputs than inputs: 0.8 to 1.2 times "
                 "FP32's speed (bench/grouped.py)", fix="leave them in float", find=narrow_for_openvino),
)
