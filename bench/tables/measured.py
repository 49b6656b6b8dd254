"""Reads what the scripts of bench/ measured, `bench/results/*.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_se.core.measured_by import of_files

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"

Document = dict[str, Any]


def result_of(name: str) -> Path:
    """Where a measurement is kept; it need not have been made."""
    return RESULTS / f"{name}.json"


def made(prefix: str) -> list[str]:
    """The names of the measurements that begin so, in order."""
    return sorted(path.stem for path in RESULTS.glob(f"{prefix}*.json"))


def measured(name: str) -> Document:
    """The document of a measurement that was made."""
    document: Document = json.loads(result_of(name).read_text())
    return document


def measured_if_any(name: str) -> Document | None:
    """The document of a measurement; None where nobody made it yet."""
    return measured(name) if result_of(name).is_file() else None


def judged(document: Document) -> str:
    """What computed the accuracies of a benchmark, as a sentence."""
    told = of_files((f"`{row.get('target', row.get('name'))}`", row.get("measured_by") or _before(document, row))
                    for row in document["rows"])
    return f"{told[0].upper()}{told[1:]}."


def _before(document: Document, row: dict[str, Any]) -> dict[str, str]:
    """Benchmarks of before name no runtime: it was onnxruntime, but for peers' files that OpenVINO alone runs well.

    There it was given no precision, and took bf16 where the processor multiplies it (bench/precision_hints.py).
    """
    environment = document["environment"]
    versions, hardware = environment["versions"], environment["hardware"]
    if str(row.get("name", "")).lower().endswith("openvino"):
        fast = {"avx512_bf16", "amx_bf16"} & set(hardware["flags"])
        return {"runtime": "openvino", "version": document["versions"]["nncf: openvino"], "device": hardware["cpu"],
                "floats": "bf16" if fast else "f32"}
    return {"runtime": "onnxruntime", "version": versions["onnxruntime"], "device": hardware["cpu"], "floats": "f32"}
