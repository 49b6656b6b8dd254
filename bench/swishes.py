"""What INT8 brings to depthwise separable convolutions with and without swishes in onnxruntime: python bench/swishes.py

A pointwise convolution and twice a depthwise 3 x 3 and a pointwise one, each with the activation behind it, and a pool,
in three forms: FP32, all of it in INT8, and as the target `cpu` places it. One thread, batch 1, all forms of a block
in turns, medians over the rounds. `LEAST_WIDTH` of edge_se/quantization/swishes.py follows from it. Takes about two
minutes; writes bench/results/swishes.json.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.core import environment
from edge_se.core.files import write_json
from edge_se.core.progress import SILENT
from edge_se.data.preprocessing import assumed
from edge_se.data.splits import ImageSet
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.sensitivity import interleaved_medians
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS
from edge_se.reporting.console import print_table

RESULTS = Path(__file__).parent / "results"
SIZES = ((32, 112), (32, 28), (64, 56), (64, 14), (128, 28), (256, 14), (512, 7))  # channels and pixels along an edge
ACTIVATIONS = ("relu", "hard swish", "swish")
COLUMNS = ("fp32_ms", "int8_ms", "placed_ms")


def main() -> None:
    rows = [measured(activation, channels, size) for activation in ACTIVATIONS for channels, size in SIZES]
    write_json(RESULTS / "swishes.json", {
        "schema": "edge-se/swishes/1", "threads": 1, "batch": 1, "target": "cpu", "rows": rows,
        "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                        "commit": environment.commit()}})
    print_table(["activation", "channels", "size", *COLUMNS],
                [[row["activation"], str(row["channels"]), str(row["size"]), *(f"{row[form]:.3f}" for form in COLUMNS)]
                 for row in rows])


def measured(activation: str, channels: int, size: int) -> dict[str, Any]:
    """Medians in ms of the three forms of one block."""
    model = block(activation, channels, size)
    pixels = np.random.default_rng(1).integers(0, 256, (4, 3, size, size), dtype=np.uint8)
    statistics = collect(model, ImageSet(
        name="noise", split="noise", pixels=pixels, labels=None, preprocessing=assumed((size, size))))
    target = TARGETS["cpu"]
    plans = [place(model.proto, rules, "all") for rules in (replace(target, narrow_swishes=False), target)]
    ranges = statistics.ranges("minmax", target.activations)
    times = interleaved_medians([model, *(quantize(model, ranges, target, plan) for plan in plans)],
                                OnnxRuntime(), SILENT)
    return {"activation": activation, "channels": channels, "size": size, **dict(zip(COLUMNS, times))}


def block(activation: str, channels: int, size: int) -> OnnxModel:
    """Image -> pointwise -> twice depthwise 3 x 3 -> pointwise -> pool; random weights that keep the variance."""
    rng, read = np.random.default_rng(0), "image"
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    layers = [("stem", (channels, 3, 1, 1)), ("depthwise0", (channels, 1, 3, 3)),
              ("point0", (channels, channels, 1, 1)), ("depthwise1", (channels, 1, 3, 3)),
              ("point1", (channels, channels, 1, 1))]
    for name, shape in layers:
        weight = rng.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5
        bias = rng.standard_normal(channels) * 0.1
        constants += [numpy_helper.from_array(weight.astype(np.float32), f"{name}_weight"),
                      numpy_helper.from_array(bias.astype(np.float32), f"{name}_bias")]
        nodes.append(helper.make_node("Conv", [read, f"{name}_weight", f"{name}_bias"], [name],
                                      group=channels if shape[1] == 1 else 1, pads=[shape[2] // 2] * 4))
        read = f"{name}_activated"
        nodes += activated(activation, name, read)
    nodes.append(helper.make_node("GlobalAveragePool", [read], ["logits"]))
    graph = helper.make_graph(
        nodes, "block", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", channels, 1, 1])], constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return OnnxModel.of(onnx.shape_inference.infer_shapes(proto))


def activated(activation: str, read: str, made: str) -> list[onnx.NodeProto]:
    """Nodes from `read` to `made`, as exporters write them."""
    if activation == "relu":
        return [helper.make_node("Relu", [read], [made])]
    sigmoid = (helper.make_node("Sigmoid", [read], [f"{made}_sigmoid"]) if activation == "swish"
               else helper.make_node("HardSigmoid", [read], [f"{made}_sigmoid"], alpha=1 / 6, beta=0.5))
    return [sigmoid, helper.make_node("Mul", [read, f"{made}_sigmoid"], [made])]


if __name__ == "__main__":
    main()
