"""Vela, Arm's compiler for Ethos-U NPUs: which operators of a `.tflite` file it leaves to the processor.

Nothing runs: its inferences a second are an estimate, and of the NPU's part alone.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edge_se.core.children import run_module
from edge_se.core.environment import importable, version_of
from edge_se.core.errors import UnavailableError

INSTALL = "pip install 'edge-se[microcontrollers]'"
TIMEOUT_S = 180.0
# Vela's default for it is 500 MHz with weights in flash behind a slower bus (Ethos_U55_High_End_Embedded, Shared_Sram).
ACCELERATOR = "ethos-u55-128"
KIB = 1024  # of memory in its table
_ON_NPU = "ethos-u"  # the custom operator that a part of the graph becomes


def vela_check(content: bytes) -> dict[str, Any]:
    """What vela makes of a file: `version`, and `refusal` in its words or the figures below.

    accelerator, system_config, memory_mode, clock_hz   what it compiled for
    operators          of the file
    on_cpu             those that fall back to the processor: `operator`, `tensor` (its output) and `type` of that
    sram_bytes         as vela plans it
    flash_bytes        the compiled file: commands and packed weights of the NPU, and all that the processor needs
    estimate           `inferences_per_s` of the NPU's part alone, computed by vela and not measured; None without one

    Raises UnavailableError where ethos-u-vela or ai-edge-litert is not installed.
    """
    for module, package in (("ethosu.vela", "ethos-u-vela"), ("ai_edge_litert", "ai-edge-litert")):
        if not importable(module):
            raise UnavailableError(f"{package} is not installed", where="vela", fix=INSTALL)
    version = version_of("ethos-u-vela")
    with TemporaryDirectory(prefix="edge-se-") as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(content)
        ended = run_module("ethosu.vela", "--accelerator-config", ACCELERATOR, "--output-dir", name,
                           str(folder / "model.tflite"), timeout=TIMEOUT_S)
        summaries = list(folder.glob("model_summary_*.csv"))
        if ended.failure is not None or not summaries:
            return {"version": version, "refusal": ended.failure or "it writes no summary"}
        with summaries[0].open(newline="") as file:
            row = next(csv.DictReader(file))
        compiled = (folder / "model_vela.tflite").read_bytes()
    rate = float(row["inferences_per_second"])  # NaN where nothing runs on the NPU
    return {
        "version": version, "accelerator": ACCELERATOR, "system_config": row["system_config"],
        "memory_mode": row["memory_mode"], "clock_hz": float(row["core_clock"]), "operators": len(_operators(content)),
        "on_cpu": [one for one in _operators(compiled) if one["operator"] != _ON_NPU],
        "sram_bytes": round(float(row["sram_memory_used"]) * KIB), "flash_bytes": len(compiled),
        "estimate": {"inferences_per_s": rate if math.isfinite(rate) else None}}


def _operators(content: bytes) -> list[dict[str, str]]:
    """Every operator of a file with the tensor that it makes, and the type of that."""
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    types = {value: name.lower() for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    found = []
    for graph in model.subgraphs:
        for operator in graph.operators:
            code, made = model.operatorCodes[operator.opcodeIndex], graph.tensors[operator.outputs[0]]
            # Files of before the 128th operator have the deprecated field alone.
            name = code.customCode or names[max(code.builtinCode, code.deprecatedBuiltinCode)]
            found.append({"operator": _text(name), "tensor": _text(made.name), "type": types[made.type]})
    return found


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
