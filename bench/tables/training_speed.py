"""The training engine's speed against a plain loop, from what `bench/training_speed.py` wrote."""

from __future__ import annotations

from typing import Any

from bench.tables.measured import measured_if_any
from edge_se.reporting.tables import markdown

SCHEMA = "edge-se/training-speed/2"
LAYOUTS = ("contiguous", "channels_last")
COLUMNS = ["net", "type", "engine", "ms a step", "images/s", "x plain (range)", "x plain, channels_last (range)",
           "input pipeline", "rounds x steps"]


def speed_table() -> str:
    """A row per setting and engine, with the conditions below; a sentence where nothing was measured yet."""
    document = measured_if_any("training_speed") or {}
    if document.get("schema") != SCHEMA:  # a result in an older form has one setting and no compiled engine
        return "Not measured yet.\n"
    rows = [row for setting in document["settings"] for row in _rows(setting)]
    hardware, versions = document["environment"]["hardware"], document["environment"]["versions"]
    where = (f"{hardware['cpu']} ({hardware['cores']} cores, {document['environment']['threads']} threads)"
             if document["device"] == "cpu" else document["device"])
    return (f"{markdown(COLUMNS, rows, left=3)}\nx plain: the plain loop's step over the engine's, the better of 0 and "
            "2 loader workers; median of the rounds and their range. Input pipeline: its share of a step. "
            f"Batch {document['batch']}, torch {versions['torch']}, on {where}."
            + ("" if document["compiler"] else " There was no compiler for torch.compile.") + "\n")


def _rows(setting: dict[str, Any]) -> list[list[str]]:
    loops = {loop["loop"]: loop for loop in setting["loops"]}
    return [[f"`{setting['model']}`", setting["amp"] if setting["amp"] != "off" else "fp32",
             engine["loop"].partition(", ")[2], f"{loops[engine['loop']]['step_ms']:.1f}",
             f"{loops[engine['loop']]['images_per_s']:.0f}", *(_ratio(engine["against"][name]) for name in LAYOUTS),
             f"{100 * engine['pipeline_share']:.1f} %", f"{setting['rounds']} x {setting['steps']}"]
            for engine in setting["engines"]]


def _ratio(row: dict[str, Any]) -> str:
    return f"{row['ratio']:.2f} ({row['lowest']:.2f}–{row['highest']:.2f})"
