"""What `bench/folded_excitations.py` measured: how far excitations depend on the image, and nets whose
excitations are constants.

Where nothing was measured yet each table is a line that says what measures it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import Any

from bench.tables.measured import Document, judged, measured_if_any
from bench.tables.se_cost import RUNTIMES, WHERE, added, ratio_text
from edge_se.reporting.tables import markdown

MISSING = "Not measured yet: `python bench/folded_excitations.py`.\n"

Row = dict[str, Any]


def accuracy_table() -> str:
    """What constant excitations cost on validation images, net by net."""
    return _block(_accuracy)


def final_table() -> str:
    """The bundled nets on the test set, folded as `export` folds them."""
    return _block(_final)


def times_table() -> str:
    """INT8 with and without excitations beside the plain net, in turns."""
    return _block(_times)


def deviation_table() -> str:
    """The bundled nets by what trained their kernels, of `bench/excitation_deviation.py`."""
    document = measured_if_any("excitation_deviation")
    if document is None:
        return "Not measured yet: `python bench/excitation_deviation.py`.\n"
    rows = []
    for row in sorted(document["rows"], key=lambda row: row["muon"]):
        deviations = [100 * value for value in row["deviations"].values()]
        name = f"`{row['name']}`{'' if row['bundled'] else ', earlier weights'}"
        rows.append([name, "Muon" if row["muon"] else "SGD", str(row["epochs"]), str(len(deviations)),
                     f"{statistics.median(deviations):.1f} %, {max(deviations):.0f} %", f"{row['top1']:.2f}",
                     _drop(row), str(row["flips"])])
    columns = ["net", "kernels trained by", "epochs", "excitations", "deviation: median, largest", "top-1 %",
               "all as constants, FP32: drop (95 % CI)", "flips"]
    return (f"{markdown(columns, rows, left=2)}\nDrops in points, paired by image; n = {document['rows'][0]['n']:,} of "
            f"{document['validation']}; means and deviations over {document['calibration']}. {judged(document)}\n")


def _block(of: Callable[[Document], str]) -> str:
    document = measured_if_any("folded_excitations")
    return MISSING if document is None else of(document)


def _accuracy(document: Document) -> str:
    columns = ["net", "SE", "excitations", "never move", "deviation: median, largest", "top-1 %",
               "folded, FP32: drop (95 % CI)", "flips", "with excitations, INT8: drop (95 % CI)",
               "folded, INT8: drop (95 % CI)", "folded by `export`"]
    rows = []
    for row in document["rows"]:
        all_, deviations = row["all"], [100 * excitation["deviation"] for excitation in row["gates"]]
        rows.append([_name(row), WHERE[row["attention"]], str(len(deviations)), str(row["constant"]),
                     f"{statistics.median(deviations):.1f} %, {max(deviations):.0f} %", f"{all_['top1']:.2f}",
                     _drop(all_["folded"]), str(all_["folded"]["flips"]), _drop(all_["int8"]),
                     _drop(all_["folded_int8"]), f"{row['folded']} of {len(deviations)}"])
    n = document["rows"][0]["all"]["n"]
    return (f"{markdown(columns, rows, left=2)}\nDrops in points against the net as it was trained, in FP32, paired by "
            f"image; n = {n:,} of {document['validation']}; target `{document['target']}`; means of excitations over "
            f"{document['calibration']}. A deviation is an excitation's standard deviation over images relative to its "
            f"mean, in the mean of its channels. Accuracy: {_by_machine(document['rows'], _judge)}.\n")


def _final(document: Document) -> str:
    columns = ["net", "excitations folded", "top-1 % as trained", "folded, FP32: drop (95 % CI)", "flips",
               "with excitations, INT8: drop (95 % CI)", "folded, INT8: drop (95 % CI)"]
    final = [row for row in document["rows"] if "final" in row]
    rows = [[f"`{row['net']}`", f"{row['folded']} of {len(row['gates'])}", f"{row['final']['top1']:.2f}",
             _drop(row["final"]["folded"]), str(row["final"]["folded"]["flips"]), _drop(row["final"]["int8"]),
             _drop(row["final"]["folded_int8"])] for row in final]
    return (f"{markdown(columns, rows)}\nn = {final[0]['final']['n']:,} of {document['test']}, target "
            f"`{document['target']}`. Accuracy: {_by_machine(final, _judge)}.\n")


def _times(document: Document) -> str:
    columns = ["net", "runtime", "plain ms", "with excitations ms", "folded ms", "SE adds, % (95 % CI)",
               "what is left of it, folded, % (95 % CI)", "folded over with excitations (95 % CI)"]
    timed = [row for row in document["rows"] if "times" in row]
    rows, repeats = [], set()
    for row in timed:
        for runtime, own in row["times"].items():
            of_repeats = own["p50_ms_of_repeats"]
            repeats.add(len(of_repeats["trained"]))
            medians = (f"{statistics.median(of_repeats[name]):.3f}" for name in ("plain", "trained", "folded"))
            rows.append([_name(row), RUNTIMES[runtime], *medians, added(own["trained_over_plain"]),
                         added(own["folded_over_plain"]), ratio_text(own["folded_over_trained"])])
    return (f"{markdown(columns, rows, left=2)}\nINT8 of each runtime's own target with all excitations folded, one "
            f"thread, batch 1; medians of {' or '.join(map(str, sorted(repeats)))} repeats, all three in turns. "
            f"Machine: {_by_machine(timed, _timed)}.\n")


def _name(row: Row) -> str:
    """A bundled net by its name, one of a study by its seed, too."""
    return f"`{row['net']}`" if row["bundled"] else f"`{row['net']}`, seed {row['seed']}"


def _by_machine(rows: Iterable[Row], words: Callable[[Row], str]) -> str:
    """What `words` says of rows, once; where it differs, which rows it says it of."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        names = groups.setdefault(words(row), [])
        name = f"`{row['net']}`" if row["bundled"] else "nets with a seed"
        if name not in names:
            names.append(name)
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"{', '.join(names)}: {said}" for said, names in groups.items())


def _judge(row: Row) -> str:
    environment = row["environment"]
    return f"onnxruntime {environment['versions']['onnxruntime']}, floats f32, on {environment['hardware']['cpu']}"


def _timed(row: Row) -> str:
    hardware = row["timed"]["hardware"]
    return f"{hardware['cpu']} ({hardware['cores']} core{'s' * (hardware['cores'] != 1)})"


def _drop(row: Row) -> str:
    low, high = row["ci_pp"]
    return f"{row['drop_pp']:+.2f} ({low:+.2f} to {high:+.2f})"
