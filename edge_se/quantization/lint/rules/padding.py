"""What pools make of the padding around an image."""

from __future__ import annotations

from collections.abc import Iterator

from edge_se.graph.explicit_pads import reaching_beyond, without_windows_of_padding
from edge_se.graph.zero_padding import misplaced_zeros, offset_pools, with_negative_zeros, with_tiny_padding
from edge_se.quantization.lint.base import Finding, Rule, found
from edge_se.quantization.lint.qdq import QdqView


def before_pools(view: QdqView) -> Iterator[Finding]:
    """Pad nodes of zeros in front of a MaxPool, or of an AveragePool that is no wider."""
    for node in misplaced_zeros(view):
        yield found(node, "zeros in front of a pool that does not pad with zeros, or not with so many")


def counted(view: QdqView) -> Iterator[Finding]:
    """Average pools that count zeros around integers with a zero point, or signed ones that others read, too."""
    for node in offset_pools(view):
        yield found(node, "counts zeros around integers that have a zero point in OpenVINO")


def of_padding_alone(view: QdqView) -> Iterator[Finding]:
    """MaxPools that round up to one window more, which would begin in the padding behind the image."""
    for node, _ in reaching_beyond(view.model):
        yield found(node, "one more window would begin in the padding behind its input")


RULES = (
    Rule(name="zeros-before-pool", kind="wrong", runtime="onnxruntime", versions="1.31.1",
         instead="zeros of a Pad become the MaxPool's own padding, which is -inf: other results where all of a window "
                 "is below zero, and no session where they are as wide as the kernel",
         fix="pad with -0.0, or put the Pad behind a ReLU", find=before_pools, repair=with_negative_zeros),
    Rule(name="padded-average-pool", kind="wrong", runtime="openvino", versions="2026.4.1",
         instead="an AveragePool that counts its padding pads with the integer 0 instead of the zero point (-13 dB); "
                 "signed integers that a convolution reads, too, get a zero point",
         fix="pad in front of it with a value next to zero, such as 1e-30", find=counted, repair=with_tiny_padding),
    Rule(name="window-of-padding", kind="wrong", runtime="openvino", versions="2026.4.1",
         instead="a MaxPool that rounds up has windows of padding alone, which answer with the lowest number; torch "
                 "and onnxruntime have none",
         fix="leave ceil_mode out: the other windows stay as they are", find=of_padding_alone,
         repair=without_windows_of_padding),
)
