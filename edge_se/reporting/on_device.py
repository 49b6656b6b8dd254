"""What a device's answers say of a file, in words: beside FP32 and FP16 there, and beside onnxruntime here."""

from __future__ import annotations

from typing import Any

from edge_se.reporting.tables import accuracy


def device_lines(row: dict[str, Any]) -> list[str]:
    """The lines of a gate's row for `on_device`; none for a file that was judged on this machine."""
    told = row.get("on_device")
    if not told:
        return []
    lines = [f"on the device: top-1 {accuracy(told['top1'], told['top1_ci'])} %, FP32 {told['fp32']['top1']:.2f} %"]
    if fp16 := told.get("fp16"):
        lines[0] += f", FP16 {fp16['top1']:.2f} %"
        lines += [f"FP16 there loses {drop_words(fp16['against_fp32'])} against FP32 there",
                  f"this file loses {drop_words(told['against_fp16'])} against FP16 there"]
    return [*lines, flips_words(told["runtime_flips"]) + f" (top-1 {told['top1_here']:.2f} %); of FP32 "
            f"{told['fp32']['runtime_flips']['flips']:,}"]


def flips_words(flips: dict[str, Any]) -> str:
    """`3 of 10,000 answers (0.03 %, 0.01 to 0.09) differ from onnxruntime's here for the same file`."""
    low, high = flips["ci_pct"]
    return (f"{flips['flips']:,} of {flips['n']:,} answers ({flips['pct']:.2f} %, {low:.2f} to {high:.2f}) differ from "
            "onnxruntime's here for the same file")


def drop_words(paired: dict[str, Any]) -> str:
    """`+0.02 points [-0.09, +0.13]`."""
    low, high = paired["ci_pp"]
    return f"{paired['drop_pp']:+.2f} points [{low:+.2f}, {high:+.2f}]"
