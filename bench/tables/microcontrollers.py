"""What TFLM and vela make of files for LiteRT, of `bench/microcontrollers.py`."""

from __future__ import annotations

from typing import Any

from bench.tables.measured import measured
from edge_se.core.measured_by import in_words
from edge_se.reporting.tables import DASH, accuracy, markdown


def board_table() -> str:
    """Memory, and what stays on the processor, file by file."""
    found = sorted(measured("microcontrollers")["rows"], key=lambda row: (row["macs"], row["model"], row["placement"]))
    rows = [[f"`{row['model']}`", f"`{row['placement']}`", *_top1(row), _kib(row["bytes"]),
             _kib(row["tflm"]["arena_bytes"]), f"{row['tflm']['bit_equal']} / {row['tflm']['images']}",
             f"{len(row['vela']['on_cpu'])} / {row['vela']['operators']}", _kib(row["vela"]["sram_bytes"]),
             _kib(row["vela"]["flash_bytes"]), f"{row['vela']['estimate']['inferences_per_s']:,.0f}"] for row in found]
    columns = ["model", "placement", "FP32 top-1 %", "INT8 top-1 % (95 % CI)", "file", "TFLM's arena", "bit-equal",
               "left to the processor", "SRAM", "flash", "inferences a second"]
    vela = found[0]["vela"]
    return (f"{markdown(columns, rows, left=2)}\nSizes in KiB. tflite-micro {found[0]['tflm']['version']}, vela "
            f"{vela['version']} for {vela['accelerator']} as {vela['system_config']} with {vela['memory_mode']}, "
            f"{vela['clock_hz'] / 1e6:.0f} MHz; the last four columns are vela's, the last an estimate of the NPU's "
            f"part alone. {_judged(found)}\n")


def _top1(row: dict[str, Any]) -> list[str]:
    if row.get("top1") is None:
        return [DASH, DASH]
    return [f"{row['fp32_top1']:.2f}", accuracy(row["top1"], row["top1_ci"])]


def _judged(rows: list[dict[str, Any]]) -> str:
    """On which images and by what the accuracies were computed."""
    told = {f"{row['dataset']} (n = {row['top1_n']:,}), INT8 by {in_words(row['measured_by'])}"
            for row in rows if row.get("top1") is not None}
    return f"Top-1: {'; '.join(sorted(told))}." if told else ""


def _kib(count: int) -> str:
    return f"{count / 1024:,.0f}"
