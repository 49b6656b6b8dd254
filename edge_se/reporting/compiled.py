"""What compilers and runtimes make of a file of `verify`, in lines."""

from __future__ import annotations

from collections import Counter
from typing import Any

from edge_se.reporting.amounts import amount

LITERT = "LiteRT's reference kernels"


def compiled_lines(item: dict[str, Any]) -> list[str]:
    """The lines of one file of `verify --compile`; none where neither TFLM nor vela was asked about it."""
    return [line for name, words in (("tflm", _tflm), ("vela", _vela)) if (told := item.get(name))
            for line in [words(told)]]


def refusal_lines(item: dict[str, Any]) -> list[str]:
    """A line for each runtime that the file is for and that does not take it."""
    answers = {"TensorRT for RTX": item, "OpenCV": item.get("opencv", {}), "LiteRT": item.get("litert", {})}
    return [f"{runtime} refuses it: {told['refusal']}" for runtime, told in answers.items() if "refusal" in told]


def _tflm(told: dict[str, Any]) -> str:
    if "refusal" in told:
        return f"TFLM does not run it: {told['refusal']}"
    equal, images = told["bit_equal"], told["images"]
    apart = "" if equal == images else f", the largest difference of a logit is {told['largest_difference']:.3g}"
    return (f"TFLM: an arena of {_kib(told['arena_bytes'])}; {equal} of {images} images bit-equal with "
            f"{LITERT}{apart}")


def _vela(told: dict[str, Any]) -> str:
    if "refusal" in told:
        return f"vela does not compile it: {told['refusal']}"
    left = told["on_cpu"]
    kinds = Counter(one["operator"] for one in left).most_common()
    named = f" ({', '.join(f'{count} {kind}' for kind, count in kinds)})" if left else ""
    rate = told["estimate"]["inferences_per_s"]
    estimate = "nothing runs on the NPU" if rate is None else (
        f"{amount(rate, 0)} inferences/s at {told['clock_hz'] / 1e6:.0f} MHz, an estimate of the NPU's part alone")
    return (f"{told['accelerator']} by vela: {len(left)} of {told['operators']} operators fall back to the processor"
            f"{named}; SRAM {_kib(told['sram_bytes'])}, flash {_kib(told['flash_bytes'])}; {estimate}")


def _kib(count: int) -> str:
    """Bytes as a board's data sheet has them."""
    return f"{amount(count / 1024, 0)} KiB"
