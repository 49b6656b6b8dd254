"""Tables of what `bench/estimator.py` measured: how far latencies are from their roofline."""

from __future__ import annotations

from typing import Any

from bench.tables.measured import Document, measured
from edge_se.reporting.estimates import error_in_words, read_estimator
from edge_se.reporting.tables import markdown

WAYS = {
    "own_peaks": "with the peaks of their own runtime",
    "without_launches": "without dispatch",
    "main_memory": "with the bandwidth of main memory"}


def read_rows() -> Document:
    """Every net and every chain of operators by itself."""
    return measured("estimator-rows")


def error_sentence() -> str:
    """`error_in_words` of the shipped document, as a line of Markdown."""
    words = error_in_words(read_estimator())
    return words[0].upper() + words[1:] + ".\n"


def figures_table() -> str:
    """Peaks, bandwidths and dispatch of the machine that was measured."""
    document = read_estimator()
    figures, hardware = document["figures"], document["environment"]["hardware"]
    rows = [[f"{precision.upper()} peak, 10^12 operations/s", name, f"{own[precision]:.2f}"]
            for precision in ("fp32", "int8") for name, own in figures["tops"].items()]
    rows += [["one kernel's dispatch, us", name, f"{value:.2f}"] for name, value in figures["dispatch_us"].items()]
    for level, mib in (("cache", figures["cache_mib"]), ("main_memory", figures["memory_mib"])):
        rows += [[f"bandwidth, arrays of {mib} MiB, GB/s", f"numpy, {call}", f"{value:.1f}"]
                 for call, value in figures["gbs"][level].items()]
    versions = document["environment"]["versions"]
    return (f"{markdown(['figure', 'reached by', 'value'], rows, left=2)}\nOne thread of {hardware['cpu']} "
            f"({', '.join(hardware['flags'])}); onnxruntime {versions['onnxruntime']}"
            + (f", OpenVINO {versions['openvino']}" if "openvino" in versions else "") + ".\n")


def error_table() -> str:
    """Measured over estimated per group of rows, then all rows for each other way to estimate."""
    document, rows = read_estimator(), []
    for group in document["summary"]:
        name = group["group"] if group["variant"] == "machine" else f"all, {WAYS[group['variant']]}"
        rows.append([name, str(group["n"]), f"{group['geometric_mean']:.2f}", f"{group['p10']:.2f}",
                     f"{group['p90']:.2f}", f"{group['min']:.2f}", f"{group['max']:.2f}",
                     f"{group['rank_correlation']:.2f}"])
    noise = {name: f"{100 * value:.1f} %" for name, value in document["noise"].items()}
    table = markdown(["rows", "n", "measured / estimated, geometric mean", "p10", "p90", "min", "max",
                      "rank correlation"], rows)
    return (f"{table}\nCoefficient of variation within a row: {noise['cv_median']} in the median, "
            f"{noise['cv_max']} at most; of the medians of its rounds: {noise['cv_of_rounds_median']} and "
            f"{noise['cv_of_rounds_max']}.\n")


def ratios_table() -> str:
    """Measured over estimated of every net, with the latency; one line per net and batch."""
    document = read_rows()
    kinds = list(dict.fromkeys((row["backend"], row["precision"]) for row in document["rows"]))
    by_net: dict[tuple[str, int], dict[tuple[str, str], dict[str, Any]]] = {}
    for row in document["rows"]:
        by_net.setdefault((row["net"], row["batch"]), {})[row["backend"], row["precision"]] = row
    rows = []
    for (net, batch), own in by_net.items():
        macs = next(iter(own.values()))["macs"] / 1e6
        rows.append([f"`{net}`", f"{macs:,.0f}", str(batch), *(
            f"{own[kind]['ratio']['machine']:.2f} ({own[kind]['measured_ms']:.2f})" for kind in kinds)])
    return markdown(["net", "10^6 MACs", "batch", *(f"{name} {precision.upper()}" for name, precision in kinds)], rows)


def kernels_table() -> str:
    """Measured over estimated of single operators, by the slope over chains of them."""
    document = read_rows()
    kinds = list(dict.fromkeys((row["backend"], row["precision"]) for row in document["chains"]))
    chains: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for row in document["chains"]:
        chains.setdefault(row["chain"], {})[row["backend"], row["precision"]] = row
    rows = [[name, *(f"{own[kind]['ratio']['machine']:.2f} ({1000 * own[kind]['measured_ms']:.2f})" for kind in kinds)]
            for name, own in chains.items()]
    return markdown(["convolution + ReLU", *(f"{name} {precision.upper()}" for name, precision in kinds)], rows)


def speedups_table() -> str:
    """FP32 over INT8 as estimated and as measured."""
    rows = [[row["backend"], "the machine's" if row["variant"] == "machine" else "its own", str(row["n"]),
             f"{row['estimated']:.2f}", f"{row['measured']:.2f}", f"{row['geometric_mean']:.2f}", f"{row['p10']:.2f}",
             f"{row['p90']:.2f}", f"{row['rank_correlation']:.2f}", f"{row['same_side_of_1']} of {row['n']}"]
            for row in read_estimator()["speedups"]]
    return markdown(["runtime", "peaks", "n", "FP32 / INT8, estimated", "measured", "measured / estimated", "p10",
                     "p90", "rank correlation", "right about which is faster"], rows, left=2)
