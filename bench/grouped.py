"""What INT8 brings to a grouped convolution: python bench/grouped.py [--target openvino]

A block of a pointwise, a grouped 3 x 3 and a pointwise convolution, with ReLUs between, in three forms: FP32, all of it
in INT8 as the target writes it, and with the grouped convolution in float as it writes narrow groups. `cpu` runs in
onnxruntime, `openvino` in OpenVINO; one thread, batch 1, all forms of a block in turns, medians over the rounds.
`narrow_group` of the targets follows from it. Takes about a minute; writes bench/results/grouped.json (`cpu`) or
grouped_openvino.json.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_se.backends.base import Backend
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.backends.openvino import OpenVino
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
RUNTIMES: dict[str, Backend] = {"cpu": OnnxRuntime(), "openvino": OpenVino()}
SIZES = ((64, 28), (128, 28), (256, 14), (512, 7))  # channels and pixels along an edge
GROUPS = (1, 2, 4, 8, 16, 32, 64)
GROUPED = "grouped"  # the output of the convolution in question


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--target", choices=RUNTIMES, default="cpu")
    target, rows = parser.parse_args().target, []
    for channels, size in SIZES:
        groups = sorted({*GROUPS, *(channels // width for width in (1, 2, 4, 8))})
        rows += [measured(channels, size, count, channels, target) for count in groups if count <= channels]
        rows.append(measured(channels, size, channels, 2 * channels, target))
    write_json(RESULTS / ("grouped.json" if target == "cpu" else f"grouped_{target}.json"), {
        "schema": "edge-se/grouped/1", "threads": 1, "batch": 1, "target": target, "rows": rows,
        "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                        "commit": environment.commit()}})
    columns = ["channels", "size", "groups", "channels a group", "outputs", "FP32 ms", "INT8 ms", "grouped float ms"]
    print_table(columns, [[str(row["channels"]), str(row["size"]), str(row["groups"]), str(row["group_channels"]),
                           str(row["outputs"]), *(f"{row[form]:.3f}" for form in ("fp32_ms", "int8_ms", "float_ms"))]
                          for row in rows], left=0)


def measured(channels: int, size: int, groups: int, outputs: int, name: str) -> dict[str, Any]:
    """Medians in ms of the three forms of one block for the target `name`."""
    model = block(channels, size, groups, outputs)
    pixels = np.random.default_rng(1).integers(0, 256, (8, 3, size, size), dtype=np.uint8)
    statistics = collect(model, ImageSet(
        name="noise", split="noise", pixels=pixels, labels=None, preprocessing=assumed((size, size))))
    target = replace(TARGETS[name], narrow_group=0)
    whole = place(model.proto, target, "all")
    left = replace(whole, float_nodes=(*whole.float_nodes, GROUPED), narrow_groups=(GROUPED,))
    ranges = statistics.ranges("minmax", target.activations)
    fp32, int8, kept = interleaved_medians(
        [model, *(quantize(model, ranges, target, placement) for placement in (whole, left))],
        RUNTIMES[name], SILENT)
    return {"channels": channels, "size": size, "groups": groups, "group_channels": channels // groups,
            "outputs": outputs, "fp32_ms": fp32, "int8_ms": int8, "float_ms": kept}


def block(channels: int, size: int, groups: int, outputs: int) -> OnnxModel:
    """Image -> pointwise -> grouped 3 x 3 (`outputs` channels) -> pointwise; random weights that keep the variance."""
    rng = np.random.default_rng(0)
    layers = [("image", "stem", (channels, 3, 1, 1), 1), ("stem_relu", "wide", (channels, channels, 1, 1), 1),
              ("wide_relu", GROUPED, (outputs, channels // groups, 3, 3), groups),
              (f"{GROUPED}_relu", "logits", (channels, outputs, 1, 1), 1)]
    nodes, constants = [], []
    for read, made, shape, group in layers:
        weight = rng.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5
        constants += [numpy_helper.from_array(weight.astype(np.float32), f"{made}_weight"),
                      numpy_helper.from_array(np.zeros(shape[0], np.float32), f"{made}_bias")]
        nodes.append(helper.make_node("Conv", [read, f"{made}_weight", f"{made}_bias"], [made], group=group,
                                      pads=[shape[2] // 2] * 4))
        if made != "logits":
            nodes.append(helper.make_node("Relu", [made], [f"{made}_relu"]))
    graph = helper.make_graph(
        nodes, "block", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", channels, size, size])], constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return OnnxModel.of(onnx.shape_inference.infer_shapes(proto))


if __name__ == "__main__":
    main()
