"""What the figures of an INT8 engine mean and what to try, in plain words; every sentence has a threshold here."""

from __future__ import annotations

from statistics import median

from edge_se.measure.causes import (
    BLOCK,
    CAUSES,
    COMPUTE,
    EXCITATION,
    FLOAT,
    FP8,
    INT8,
    POINTWISE,
    QUANTIZE,
    REFORMAT,
    Breakdown,
)
from edge_se.measure.compare import AS_BASELINE, AS_INT8, REMOVED, Comparison

WORTH = 1.1              # a speed-up counts from here on
GAIN = 1.05              # a forecast is told when it is so much better
LAUNCHES_DOMINATE = 0.5  # of the latency: INT8 is not worth it unless it is faster all the same
LAUNCHES = 0.3           # of the latency, from here on shares of the kernel time
BORDERS = 0.1            # reformats and Q/DQ together
AT_ENDS = 0.5            # share of the reformats that are at the engine's inputs and outputs
BLOCKS = 0.1             # from here on what the files tell of precision is not the whole
FLOATS = 0.25
EXCITATIONS = 0.15
ADDS = 0.1
SLOWER = 0.05            # lost in layers that are slower than in the baseline
TINY_MS = 0.01           # half of the kernels are shorter: they do not fill the GPU
PARTS = {REFORMAT: "the reformats", QUANTIZE: "the quantize and dequantize kernels", POINTWISE: "the unfused adds"}


def verdict_of(int8: Breakdown, launch_share: float | None, comparison: Comparison | None) -> str:
    """The verdict in one sentence. `launch_share` is a share of the latency; None when no latency was measured."""
    launches = launch_share is not None and launch_share >= LAUNCHES_DOMINATE
    waits = f"launches and waits take {_percent(launch_share or 0.0)} of the run"
    if comparison is None:
        if launches:
            return f"INT8 is not worth it here: {waits}, which no faster kernel shortens"
        first = int8.causes[0]
        if int8.share(BLOCK) >= BLOCKS:
            return ("no baseline, so no speed-up is known; compiled blocks or the DLA take "
                    f"{_percent(int8.share(BLOCK))} of the time, and the files do not tell what precision they compute "
                    "in")
        if int8.share(FP8) > int8.share(INT8):
            return ("no baseline, so no speed-up is known; FP8 and FP4 compute takes "
                    f"{_percent(int8.share(FP8))} of the kernel time, INT8 compute {_percent(int8.share(INT8))}")
        return (f"no baseline, so no speed-up is known; INT8 compute takes {_percent(int8.share(INT8))} of the kernel "
                f"time, most goes into {CAUSES[first.cause]} ({_percent(first.share)})")
    than = comparison.baseline_precision.upper() if comparison.baseline_precision else "the baseline"
    if comparison.speedup >= WORTH:
        verdict = f"INT8 is {comparison.speedup:.2f}x faster than {than}"
    elif launches:
        return (f"INT8 is not worth it here ({comparison.speedup:.2f}x of {than}): {waits}; its kernels alone are "
                f"{comparison.kernel_speedup:.2f}x")
    else:
        verdict = f"INT8 is {'not faster' if comparison.speedup * WORTH > 1 else 'slower'} than {than} " \
                f"({comparison.speedup:.2f}x)"
    return verdict + _forecast(comparison)


def _forecast(comparison: Comparison) -> str:
    best = next(iter(comparison.would_be), None)
    if best is None or best.speedup < GAIN * comparison.speedup:
        return ""
    how = {REMOVED: f"without {PARTS.get(best.cause, best.cause)}",
           AS_BASELINE: "with excitations as fast as the baseline's",
           AS_INT8: "if the layers that stayed float gained what the INT8 ones did"}
    return f"; it would be {best.speedup:.2f}x {how[best.how]}"


def advise(int8: Breakdown, launch_share: float | None, comparison: Comparison | None) -> list[str]:
    """What to try, most promising kinds first; one line that says so where nothing stands out."""
    advice = [*_about_launches(int8, launch_share), *_about_precision(int8), *_about_borders(int8),
              *_about_excitations(int8),
              *_about_adds(int8), *_about_slower(int8, comparison)]
    return advice or ["nothing stands out: no cause is above its threshold (docs/explain.md)"]


def _about_launches(int8: Breakdown, launch_share: float | None) -> list[str]:
    advice = []
    if launch_share is not None and launch_share >= LAUNCHES:
        advice.append(f"launches and waits take {_percent(launch_share)} of the run: capture a CUDA graph (trtexec "
                      "--useCudaGraph; on by default from TensorRT 11), run larger batches (bench --batch 8,32)")
    shortest = median(layer.milliseconds for layer in int8.layers)
    if shortest < TINY_MS and int8.share(BLOCK) < BLOCKS:  # beside a block, reformats are its copies
        advice.append(f"half of the kernels take less than {1000 * shortest:.1f} us: the layers are too small to fill "
                      "the GPU, and fewer bits do not shorten them; run larger batches")
    return advice


def _about_precision(int8: Breakdown) -> list[str]:
    floats = [layer for layer in int8.layers if layer.cause == FLOAT]
    if int8.share(BLOCK) >= BLOCKS:
        longest = next(layer for layer in int8.layers if layer.cause == BLOCK)
        return [f"compiled blocks or the DLA take {_percent(int8.share(BLOCK))}, most of it '{longest.name}': time "
                "them against the same net in FP16, since no file tells what is inside; on the GPU alone (without "
                "--useDLACore) the layers are told one by one"]
    if not int8.of(INT8):
        if int8.of(COMPUTE, FP8, BLOCK):
            return []  # bare names, which tell nothing, or a precision that was chosen
        return ["no layer computes in INT8: check that this is the INT8 file, and below strong typing that the engine "
                "was built with --int8"]
    if int8.share(FLOAT) < FLOATS:
        return []
    single = sum(layer.milliseconds for layer in floats if layer.computes == "fp32")
    advice = [f"layers that stayed float take {_percent(int8.share(FLOAT))}, most of it in '{floats[0].name}': "
              "`edge-se sensitivity` tells which of them INT8 would hurt; --placement se-float quantizes the ends too"]
    if single >= int8.of(FLOAT) / 2:
        advice.append("they run in FP32: export --target tensorrt-fp16 (TensorRT 10 and later), or build with --fp16 "
                      "beside --int8 (before 11)")
    return advice


def _about_borders(int8: Breakdown) -> list[str]:
    share = int8.share(REFORMAT, QUANTIZE)
    if share < BORDERS:
        return []
    borders = [layer for layer in int8.layers if layer.cause in (REFORMAT, QUANTIZE)]
    at_ends = sum(layer.milliseconds for layer in borders if layer.at_end) / int8.of(REFORMAT, QUANTIZE)
    sentence = f"reformats and Q/DQ take {_percent(share)}, most of it '{borders[0].name}'"
    if at_ends >= AT_ENDS:
        return [f"{sentence}: {_percent(at_ends)} of that is at the inputs and outputs of the engine. With --placement "
                "ends-float the first and last layer need no Q/DQ; --target tensorrt-fp16 halves what they read; "
                "inputs in the first layer's own layout (trtexec --inputIOFormats) need no reformat"]
    return [f"{sentence}: INT8 and float layers alternate. --placement se-float has no float ends and so "
            "fewer borders; --target tensorrt-fp16 makes each float tensor half as large"]


def _about_excitations(int8: Breakdown) -> list[str]:
    if int8.share(EXCITATION) < EXCITATIONS:
        return []
    quantized = any(layer.cause == EXCITATION and "int8" in f"{layer.reads} {layer.computes}" for layer in int8.layers)
    sentence = f"Excitations take {_percent(int8.share(EXCITATION))}: chains of tiny kernels"
    if quantized:
        return [f"{sentence}, in part INT8, which gains nothing there: --placement se-float"]
    return [f"{sentence}, in float already: only larger batches and a CUDA graph shorten them, or a net without SE"]


def _about_adds(int8: Breakdown) -> list[str]:
    if int8.share(POINTWISE) < ADDS:
        return []
    return [f"adds and activations of their own take {_percent(int8.share(POINTWISE))}: a residual add becomes part of "
            "the convolution when its other input is quantized, as the files for tensorrt and tensorrt-fp16 have it"]


def _about_slower(int8: Breakdown, comparison: Comparison | None) -> list[str]:
    matches = comparison.matches if comparison else ()
    slower = [match for match in matches if match.speedup < 1 and INT8 in match.causes]
    lost = sum(match.milliseconds - match.baseline_ms for match in slower)
    if lost < SLOWER * int8.milliseconds:
        return []
    worst = max(slower, key=lambda match: match.milliseconds - match.baseline_ms)
    return [f"{len(slower)} INT8 layers are slower than the baseline's and lose {lost:.3f} ms, most of it "
            f"'{worst.layers[0]}': --placement auto measures which are worth it"]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
