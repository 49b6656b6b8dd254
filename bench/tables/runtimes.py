"""Tables of runtimes: INT8 of each target, against exact integers, and by OpenVINO's precision hints."""

from __future__ import annotations

from typing import Any

from bench.tables.compatibility import STEADY
from bench.tables.measured import measured_if_any
from edge_se.core.measured_by import SHOWN, of_files
from edge_se.evaluation.statistics import median_ratio
from edge_se.measure.timing import CV_WARNING
from edge_se.reporting.tables import DASH, markdown

MISSING = "Not measured yet.\n"
HINTS = {"f32": "f32", "bf16": "bf16", "f16": "f16", None: "none: OpenVINO's own choice"}


def drops_table() -> str:
    """A row for each target, a column for each net: INT8's drop with its interval, and the worst of all of them."""
    document = measured_if_any("target_drops")
    if document is None:
        return MISSING
    nets = document["nets"]
    rows: dict[str, list[str]] = {}
    for index, net in enumerate(nets):
        for file in net["files"]:
            cells = rows.setdefault(file["target"], [DASH] * len(nets))
            low, high = file["ci_pp"]
            cells[index] = f"{file['drop_pp']:+.2f} ({low:+.2f} to {high:+.2f})"
    columns = [f"`{net['model']}`, FP32 {net['fp32_top1']:.2f} %" for net in nets]
    files = [file for net in nets for file in net["files"]]
    worst, highest = max(file["drop_pp"] for file in files), max(file["ci_pp"][1] for file in files)
    told = of_files((f"`{file['target']}`", file["measured_by"]) for file in files)
    return (markdown(["target", *columns], [[f"`{target}`", *cells] for target, cells in rows.items()])
            + f"\nINT8's drop in points against FP32 (95 % CI, paired), n = {files[0]['n']:,} of {nets[0]['dataset']}. "
              f"The largest drop is {worst:+.2f}, the highest upper end {highest:+.2f}. {told[0].upper()}{told[1:]}.\n")


def simulations_table() -> str:
    """A row for each net and form of file, a column for each runtime: flips, SQNR of the logits."""
    document = measured_if_any("simulations")
    if document is None:
        return MISSING
    shown = {row["how"]: _shown(row) for file in document["files"] for row in file["runtimes"]}
    rows = []
    for file in document["files"]:
        own = {row["how"]: f"{row['flips']}; {row['sqnr_db']:.1f}" for row in file["runtimes"]}
        rows.append([f"`{file['model']}`", f"`{file['target']}`", f"{file['n']:,}",
                     *(own.get(how, DASH) for how in shown)])
    hardware = document["environment"]["hardware"]
    return (f"{markdown(['net', 'file for', 'images', *shown.values()], rows, left=2)}\nFlips against the exact "
            f"answers; SQNR of the logits in dB. Images of {document['files'][0]['images']}; "
            f"{_versions(document)}, on {hardware['cpu']} ({', '.join(hardware['flags'])}).\n")


def _shown(row: dict[str, Any]) -> str:
    runtime = row["measured_by"]["runtime"]
    return f"{SHOWN.get(runtime, runtime)}, {row['how']}"


def hints_table() -> str:
    """A row for each net, file and hint: what is computed, accuracy, time and INT8's gain over FP32 with that hint.

    Times whose spread says that something else used the machine are left out.
    """
    document = measured_if_any("precision_hints")
    if document is None:
        return MISSING
    rows = []
    for net in document["nets"]:
        times = {(row["file"], row["hint"]): row["p50_ms"] for row in net["rows"] if row["cv"] <= CV_WARNING}
        for row in net["rows"]:
            quality = DASH if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f}"
            own, fp32 = times.get((row["file"], row["hint"])), times.get(("fp32", row["hint"]))
            gain = DASH if row["file"] == "fp32" or own is None or fp32 is None else f"{fp32 / own:.2f}"
            rows.append([f"`{net['model']}`", f"`{row['file']}`", HINTS[row["hint"]], row["measured_by"]["floats"],
                         f"{row['top1']:.2f}", str(row["flips"]), quality, DASH if own is None else f"{own:.2f}", gain])
    hardware, first = document["environment"]["hardware"], document["nets"][0]
    return (markdown(["net", "file", "hint", "computes floats in", "top-1 %", "flips", "SQNR dB", "ms",
                      "x FP32 with that hint"], rows, left=4)
            + f"\nAgainst FP32 in f32, n = {first['n']:,} of {first['images']}; one thread, batch 1, in turns; "
              "no time where the machine did something else. "
              f"Accuracy and times: {_versions(document)}, on {hardware['cpu']} ({', '.join(hardware['flags'])}).\n")


def _versions(document: dict[str, Any]) -> str:
    versions = document["environment"]["versions"]
    return f"onnxruntime {versions['onnxruntime']}, OpenVINO {versions['openvino']}"


def litert_table() -> str:
    """LiteRT's INT8 files of a build: what each costs, and its time in turns with FP32; no time of a busy machine."""
    document = measured_if_any("litert")
    if document is None:
        return MISSING
    fp32, *timed = document["bench"]["measurements"]
    lost = {row["target"]: row for row in document["gate"]["targets"]}
    flipped = {row["target"]: f"{row['flips']} / {row['flips_n']:,}" for row in document["files"]}
    rows = []
    for row in timed:
        cost, ratio = lost[row["target"]], median_ratio(row["round_p50_ms"], fp32["round_p50_ms"])
        low, high = cost["ci_pp"]
        steady = ratio["low"] and ratio["high"] and ratio["high"] <= STEADY * ratio["low"]
        rows.append([f"`int8.{row['target']}.tflite`", f"{cost['drop_pp']:+.2f} ({low:+.2f} to {high:+.2f})",
                     flipped[row["target"]], f"{row['nodes']} / {row['xnnpack_nodes']}",
                     f"{ratio['ratio']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})" if steady else DASH])
    columns = ["file", "drop, points (95 % CI)", "flips", "nodes / in XNNPACK", "time over FP32 (95 % CI)"]
    told = document["bench"]["environment"]
    left_out = f" {DASH}: something else used the machine." if any(row[-1] == DASH for row in rows) else ""
    return (f"{markdown(columns, rows)}\n`{fp32['model']}`, test images of CIFAR-10; times in turns with FP32, one "
            f"thread, batch 1. LiteRT {told['versions']['ai-edge-litert']} on {told['hardware']['cpu']}.{left_out}\n")
