"""What INT8 brings to grouped convolutions in onnxruntime and OpenVINO, of `bench/grouped.py`."""

from __future__ import annotations

from bench.tables.measured import measured
from edge_se.reporting.tables import markdown


def grouped_table() -> str:
    """Of `cpu` in onnxruntime."""
    return _table("grouped", "onnxruntime", "onnxruntime")


def openvino_table() -> str:
    """Of `openvino` in OpenVINO."""
    return _table("grouped_openvino", "OpenVINO", "openvino")


def _table(results: str, runtime: str, package: str) -> str:
    """Times of a block by the width of its groups: the fewest and the most times FP32's speed over all blocks."""
    document = measured(results)
    by_width: dict[tuple[int, bool], list[tuple[float, float]]] = {}
    for row in document["rows"]:
        if row["groups"] > 1:
            kind = (row["group_channels"], row["outputs"] > row["channels"])
            by_width.setdefault(kind, []).append((row["fp32_ms"] / row["int8_ms"], row["fp32_ms"] / row["float_ms"]))
    rows = []
    for (width, more), speeds in sorted(by_width.items()):
        named = f"{width} (depthwise{', two outputs each' if more else ''})" if width == 1 else str(width)
        int8, kept = zip(*speeds)
        rows.append([named, str(len(speeds)), f"{min(int8):.2f} to {max(int8):.2f}",
                     f"{min(kept):.2f} to {max(kept):.2f}"])
    environment = document["environment"]
    hardware = environment["hardware"]
    return (markdown(["channels a group", "blocks", "all INT8 x FP32", "grouped one float x FP32"], rows, left=1)
            + f"\nBlocks of a pointwise, a grouped 3 x 3 and a pointwise convolution; {runtime} "
            f"{environment['versions'][package]}, one thread, batch 1, in turns, on {hardware['cpu']} "
            f"({', '.join(hardware['flags'])}).\n")
