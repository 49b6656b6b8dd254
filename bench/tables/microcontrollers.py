"""What TFLM and vela make of files for LiteRT, of `bench/microcontrollers.py`."""

from __future__ import annotations

from bench.tables.measured import measured
from edge_se.reporting.tables import markdown


def board_table() -> str:
    """Memory, and what stays on the processor, file by file."""
    found = sorted(measured("microcontrollers")["rows"], key=lambda row: (row["macs"], row["model"], row["placement"]))
    rows = [[f"`{row['model']}`", f"`{row['placement']}`", _kib(row["bytes"]), _kib(row["tflm"]["arena_bytes"]),
             f"{row['tflm']['bit_equal']} / {row['tflm']['images']}",
             f"{len(row['vela']['on_cpu'])} / {row['vela']['operators']}", _kib(row["vela"]["sram_bytes"]),
             _kib(row["vela"]["flash_bytes"]), f"{row['vela']['estimate']['inferences_per_s']:,.0f}"] for row in found]
    columns = ["model", "placement", "file", "TFLM's arena", "bit-equal", "left to the processor", "SRAM", "flash",
               "estimate, a second"]
    vela = found[0]["vela"]
    return (f"{markdown(columns, rows, left=2)}\nSizes in KiB. tflite-micro {found[0]['tflm']['version']}, vela "
            f"{vela['version']} for {vela['accelerator']} as {vela['system_config']} with {vela['memory_mode']}, "
            f"{vela['clock_hz'] / 1e6:.0f} MHz; the last four columns are vela's, the last an estimate of the NPU's "
            "part alone.\n")


def _kib(count: int) -> str:
    return f"{count / 1024:,.0f}"
