"""The tables of all nets: counts from their specs, accuracy from their cards, and what each one's export gave."""

from __future__ import annotations

from typing import Any

from bench.tables.measured import measured
from edge_se.core.cards import card_of, measured_by_of, top1_of
from edge_se.core.measured_by import of_files
from edge_se.nets.arithmetic import size_of
from edge_se.nets.zoo import BUNDLED, MODELS
from edge_se.reporting.nets import epochs_text, top1_text, weights_text
from edge_se.reporting.tables import DASH, markdown

EXPORT_COLUMNS = ["name", "FP32 -> INT8 MiB", "INT8 in onnxruntime", "INT8 in OpenVINO",
                  "TensorRT for RTX: convolutions in INT8 / all", "layers of excitations in INT8 / all"]


def nets_table() -> str:
    """Every name with its parameters, its MACs at 32 and at 224 pixels, what is shipped of it and its top-1."""
    columns = ["name", "what it is", "params", "MACs at 32 px", "MACs at 224 px", "weights", "test top-1 %"]
    rows = []
    for name, spec in MODELS.items():
        small, large, card = size_of(spec, 32), size_of(spec, 224), card_of(name)
        rows.append([f"`{name}`", spec.about, f"{small.params:,}", DASH if spec.input_size > 32 else f"{small.macs:,}",
                     f"{large.macs:,}", weights_text(name in BUNDLED, card is not None),
                     top1_text(top1_of(card, "test")[0], top1_of(card, "validation")[0])])
    cards = {name: card for name in MODELS if (card := card_of(name))}
    told = of_files((f"`{name}`", measured_by_of(card, "test" if "test" in card else "validation"))
                    for name, card in cards.items())
    trained = epochs_text((f"`{name}`", card["epochs"]) for name, card in cards.items())
    sentences = " ".join(f"{each[0].upper()}{each[1:]}." for each in (told, trained))
    return f"{markdown(columns, rows, left=2)}\n{sentences}\n"


def exports_table() -> str:
    """What each net's export gave, from `bench/results/zoo_export.json`, with the conditions below."""
    document = measured("zoo_export")
    rows = [[f"`{row['model']}`", *export_cells(row)[1:]] for row in document["rows"]]
    versions, done = document["environment"]["versions"], {row["model"] for row in document["rows"]}
    missing = ", ".join(f"`{name}`" for name in MODELS if name not in done)
    return (f"{markdown(EXPORT_COLUMNS, rows)}\nonnxruntime {versions['onnxruntime']}, OpenVINO "
            f"{versions['openvino']}, TensorRT for RTX {versions['tensorrt-rtx']} ({document['capability']})."
            f"{f' Not measured yet: {missing}.' if missing else ''}\n")


def export_cells(row: dict[str, Any]) -> list[str]:
    """One net's cells under EXPORT_COLUMNS; of a net that was not exported its name and the fact."""
    if "failed" in row:
        return [row["model"], "not exported", *[DASH] * (len(EXPORT_COLUMNS) - 2)]
    sizes = {file["target"]: file["bytes"] / 2**20 for file in row["files"] if file["precision"] != "fp16"}
    int8 = [size for target, size in sizes.items() if target != "any"]
    rtx = row["tensorrt_rtx"]
    return [row["model"], f"{sizes['any']:.1f} -> {_span(min(int8), max(int8))}",
            *(_ran(row[backend], row["trained"]) for backend in ("onnxruntime", "openvino")),
            *(_share(rtx, kind) for kind in ("convolutions", "gate_layers"))]


def _span(least: float, most: float) -> str:
    """`10.7`, or `0.7 to 0.8` where the files of the targets differ."""
    return f"{least:.1f}" if f"{least:.1f}" == f"{most:.1f}" else f"{least:.1f} to {most:.1f}"


def _ran(parity: dict[str, Any], trained: bool) -> str:
    """SQNR of the logits; of a trained net agreement too: without training a few classes take all images."""
    if not parity["runs"]:
        return "does not run"
    return f"{parity['agreement']:.1f} %, {parity['sqnr_db']:.0f} dB" if trained else f"{parity['sqnr_db']:.0f} dB"


def _share(rtx: dict[str, Any], kind: str) -> str:
    if not rtx["accepted"]:
        return "refused"
    return f"{rtx[kind]['int8']} / {rtx[kind]['all']}" if rtx[kind]["all"] else DASH
