"""Puts measured figures into Markdown files: `python -m edge_se.reporting.readme` (from a checkout).

A document marks a place with `<!-- figures: NAME -->` ... `<!-- end figures -->`; what stands between is made here
from the JSON in `bench/results/` and the cards. A test fails when they differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_se.core.artifacts import Build, build_of
from edge_se.core.assets import asset
from edge_se.core.files import write_text
from edge_se.reporting.console import table_text
from edge_se.reporting.tables import DASH, accuracy, build_rows, markdown, measurement_rows
from edge_se.reporting.verdict import explain

MODELS = ("resnet18", "se_resnet18")
DOCUMENTS = ("README.md", "docs/peers.md")
PLACE = re.compile(r"(<!-- figures: (\S+) -->\n).*?(<!-- end figures -->)", re.DOTALL)


def refreshed(text: str) -> str:
    """`text` with every marked place made anew."""
    return PLACE.sub(lambda found: found[1] + FIGURES[found[2]]() + found[3], text)


def accuracy_table() -> str:
    """Accuracy of each precision: top-1, paired drop with its interval, flips."""
    columns = ["model", "params", "MACs", "FP32 top-1 % (95 % CI)", "INT8 file", "drop, points (95 % CI)", "flips"]
    rows = []
    for model in MODELS:
        build, gate = _build(model), _result(f"gate-{model}")
        fp32 = build.find("fp32")
        assert fp32 is not None
        for target in gate["targets"]:
            item = build.find("int8", target["target"])
            assert item is not None
            low, high = target["ci_pp"]
            rows.append([f"`{model}`", f"{fp32.params:,}", f"{fp32.macs:,}", accuracy(fp32.top1, fp32.top1_ci),
                         f"`{item.file}`", f"{target['drop_pp']:+.2f} ({low:+.2f} to {high:+.2f})",
                         f"{item.flips} / {item.flips_n:,}"])
    return markdown(columns, rows)


def latency_table() -> str:
    """Latency per precision, with the machine it was measured on."""
    rows: list[list[str]] = []
    for model in MODELS:
        columns, own = measurement_rows(_result(f"bench-{model}")["measurements"])
        rows += own
    keep = [columns.index(name) for name in ("model", "precision", "target", "p50 ms", "p90 ms", "p99 ms", "CV",
                                              "images/s", "x FP32", "MiB")]
    table = markdown([columns[index] for index in keep], [[row[index] for index in keep] for row in rows], left=3)
    first = _result(f"bench-{MODELS[0]}")
    hardware, versions = first["environment"]["hardware"], first["environment"]["versions"]
    return (f"{table}\nonnxruntime {versions['onnxruntime']}, 1 thread, batch 1, on {hardware['cpu']} "
            f"({hardware['cores']} cores, {', '.join(hardware['flags'])}).\n")


def speedup_table() -> str:
    """INT8 over FP32, ratio of medians, repeated."""
    document = _result("int8_speedup")
    return markdown(["model", "INT8 x FP32, median of the repeats", "min", "max", "repeats"], [
        [f"`{row['model']}`", f"{row['speedup']:.2f}", f"{row['speedup_min']:.2f}", f"{row['speedup_max']:.2f}",
         str(row["repeats"])] for row in document["rows"]])


def transcript() -> str:
    """What `export` and `gate` print, from the documents they wrote."""
    build, gate = _build("se_resnet18"), _result("gate-se_resnet18")
    columns, rows = build_rows(build)
    assert build.calibration is not None
    lines = ["$ edge-se export --model se_resnet18 --fp16 --int8", *table_text(columns, rows, left=3).splitlines(), "",
             f"written to {build.out}, calibrated on {build.calibration['name']}; evaluated on "
             f"{build.artifacts[0].dataset}", "", "$ edge-se gate --model se_resnet18", *explain(gate),
             "$ echo $?", "0" if gate["verdict"] == "pass" else "not 0"]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def weights_table() -> str:
    """The bundled weights, from their cards."""
    rows = []
    for model in MODELS:
        card = json.loads(asset("models", model, "card.json").read_text())
        test, validation = card["test"], card["validation"]
        rows.append([f"`{model}`", accuracy(test["top1"], test["ci95"]), f"{test['n']:,}",
                     accuracy(validation["top1"], validation["ci95"]), str(card["epochs"]), str(card["seed"]),
                     f"{card['seconds'] / 60:.0f} min on {card['hardware']['cores']} cores"
                     if card["device"] == "cpu" else f"{card['seconds'] / 60:.0f} min on {card['device']}"])
    return markdown(["weights", "test top-1 % (95 % CI)", "n", "validation top-1 % (95 % CI)", "epochs", "seed",
                     "training"], rows)


def peers_table() -> str:
    """Each peer's file: accuracy, flips, latency in two runtimes, and what quantizing took."""
    parts = []
    for model in (name for name in MODELS if asset("bench", "results", f"peers-{name}.json").is_file()):
        document = _result(f"peers-{model}")
        fp32 = document["fp32"]
        columns = ["file", "top-1 %", "drop, points (95 % CI)", "flips", "onnxruntime ms", "OpenVINO ms",
                   "quantizing s", "peak GiB"]
        rows = [["FP32", f"{fp32['top1']:.2f}", DASH, DASH, f"{fp32['onnxruntime_ms']:.2f}",
                 f"{fp32['openvino_ms']:.2f}", DASH, DASH]]
        for row in document["rows"]:
            low, high = row["ci_pp"]
            rows.append([row["name"], f"{row['top1']:.2f}", f"{row['drop_pp']:+.2f} ({low:+.2f} to {high:+.2f})",
                         str(row["flips"]), *(DASH if row[key] is None else f"{row[key]:.2f}"
                                              for key in ("onnxruntime_ms", "openvino_ms")),
                         f"{row['seconds']:.1f}", f"{row['peak_memory_bytes'] / 2**30:.2f}"])
        versions = ", ".join(f"{name.partition(': ')[2]} {number}" for name, number in document["versions"].items())
        parts.append(f"### `{model}`\n\n{markdown(columns, rows)}\nn = {document['n']:,} test images, calibrated on "
                     f"{document['calibration']}; {versions}.\n")
    return "\n".join(parts)


FIGURES: dict[str, Callable[[], str]] = {
    "accuracy": accuracy_table, "latency": latency_table, "speedup": speedup_table, "transcript": transcript,
    "weights": weights_table, "peers": peers_table}


def _result(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(asset("bench", "results", f"{name}.json").read_text())
    return document


def _build(model: str) -> Build:
    return build_of(_result(f"export-{model}"))


def main() -> None:
    """Refreshes every document."""
    for name in DOCUMENTS:
        path = Path(__file__).resolve().parents[2] / name
        write_text(path, refreshed(path.read_text()))


if __name__ == "__main__":
    main()
