"""What exporters leave out or write too new."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import TensorProto

from edge_se.graph.onnx_model import opset_of
from edge_se.quantization.lint.base import Finding, Rule, found
from edge_se.quantization.lint.qdq import QdqView

MIDDLE = (32, 80)  # where zero points of 7 bits lie of tensors that go below zero about as far as above
ENOUGH = 2  # such tensors; one may have such a range by itself
NEWEST_OF_ONNXRUNTIME, NEWEST_OF_TENSORRT = 26, 20


def narrowed(view: QdqView) -> Iterator[Finding]:
    """A file of torch's exporter whose uint8 zero points are those of ranges of 7 bits."""
    if view.model.producer_name != "pytorch":
        return
    points = [(node, float(view.zero_point(node).max())) for node in view.quantizers
              if view.kind(node) == TensorProto.UINT8]
    middle = [node for node, point in points if point >= MIDDLE[0]]
    largest = max((point for _, point in points), default=0)
    if len(middle) >= ENOUGH and largest <= MIDDLE[1]:
        yield found(middle[0], f"no zero point of {len(points)} is above {largest:.0f}: their ranges seem to have "
                               "had 7 bits")


def too_new_for_onnxruntime(view: QdqView) -> Iterator[Finding]:
    """An opset above what onnxruntime loads."""
    return _too_new(view, NEWEST_OF_ONNXRUNTIME)


def too_new_for_tensorrt(view: QdqView) -> Iterator[Finding]:
    """An opset above what TensorRT 10 is documented to read."""
    return _too_new(view, NEWEST_OF_TENSORRT)


def _too_new(view: QdqView, newest: int) -> Iterator[Finding]:
    if (opset := opset_of(view.model)) > newest and view.graph.node:
        yield found(view.graph.node[0], f"opset {opset}; the newest that is read is {newest}")


RULES = (
    Rule(name="narrowed-range-lost", kind="lossy", runtime="any", versions="torch 2.13.0",
         instead="torch's exporter drops quant_min and quant_max of PT2E's quantize_per_tensor, so that values are "
                 "kept which torch cuts off (20.0 for 12.7); seen by the zero points, not proven",
         fix="put a Clip of that range in front, or quantize with the full range (reduce_range=False)", find=narrowed),
    Rule(name="opset-too-new", kind="refused", runtime="onnxruntime", versions="1.31.1",
         instead="opsets 27 and 28 are not loaded, and 28 is what onnx 1.23 writes by default",
         fix="onnx.version_converter.convert_version(model, 21), or make the model with opset 17",
         find=too_new_for_onnxruntime),
    Rule(name="opset-too-new-for-tensorrt", kind="refused", runtime="tensorrt", versions="10.0 (8.5 and 8.6 read 17)",
         instead="opsets above 20 are not read by every TensorRT 10", fix="export with opset 17",
         find=too_new_for_tensorrt),
)
