"""What `bench/se_cost.py` measured of squeeze-and-excitation: added parameters, MACs and time, tables and a figure.

Where nothing was measured yet each of them is a line that says what measures it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench.tables.measured import Document, measured_if_any
from edge_se.core.files import write_bytes
from edge_se.measure.timing import CV_WARNING
from edge_se.reporting.figures import SETTINGS, require_figures
from edge_se.reporting.tables import DASH, markdown

MISSING = "Not measured yet: `python bench/se_cost.py`.\n"
FIGURE = "figures/se-cost.svg"
RUNTIMES = {"onnxruntime": "onnxruntime", "openvino": "OpenVINO"}
COLOURS = {"fp32": "#4c72b0", "int8": "#dd8452"}
WHERE = {"none": "no SE", "se": "on the branch", "pre": "before the branch", "post": "on the sum",
         "identity": "on the shortcut", "double_fc": "competitive, two squeezes", "pair2x1": "competitive, 2x1 pairs",
         "pair1x1": "competitive, 1x1 pairs", "folded": "competitive, folded view"}

Row = dict[str, Any]
Ratio = dict[str, Any]  # `ratio`; `low` and `high`, None where the repeats were too few for an interval


def read_se_cost() -> Document | None:
    """The document of `bench/se_cost.py`; None where nobody ran it."""
    return measured_if_any("se_cost")


def _block(of: Callable[[Document], str]) -> str:
    document = read_se_cost()
    return MISSING if document is None else of(document)


def shares_table() -> str:
    """Added parameters, MACs and time of each net over the plain one of its family, in percent."""
    return _block(_shares)


def times_table() -> str:
    """Median latency of each net, and INT8's over its own FP32's."""
    return _block(_times)


def excitations_table() -> str:
    """INT8 placements: the time of each over `all`, and over the plain net in the same placement."""
    return _block(_excitations)


def controls() -> str:
    """What shows how far the other tables can be trusted."""
    return _block(_controls)


def figure_line() -> str:
    """The figure, where there is something to draw."""
    return _block(lambda _: f"![Added time of each net over its plain one, FP32 and INT8, by runtime]({FIGURE})\n")


def _shares(document: Document) -> str:
    kinds = [(backend, precision) for backend in _backends(document) for precision in ("fp32", "int8")]
    columns = ["net", "SE", "parameters, %", "MACs, %", *(f"{RUNTIMES[backend]} {precision.upper()}, time % (95 % CI)"
                                                         for backend, precision in kinds)]
    rows = []
    for net in document["nets"]:
        if net["attention"] == "none":
            continue
        own = {(row["backend"], row["precision"]): row["against"]["plain"] for row in _defaults(document)
               if row["net"] == net["net"]}
        rows.append([f"`{net['net']}`", WHERE[net["attention"]], f"{100 * net['added_params']:+.2f}",
                     f"{100 * net['added_macs']:+.3f}", *(added(own[kind]) for kind in kinds)])
    return f"{markdown(columns, rows, left=2)}\n{_conditions(document)}"


def _times(document: Document) -> str:
    backends = _backends(document)
    columns = ["net", *(f"{RUNTIMES[backend]} {what}" for backend in backends
                        for what in ("FP32 ms", "INT8 ms", "INT8 over FP32 (95 % CI)"))]
    rows = []
    for net in document["nets"]:
        own = {(row["backend"], row["precision"]): row for row in _defaults(document) if row["net"] == net["net"]}
        cells = [f"`{net['net']}`"]
        for backend in backends:
            fp32, int8 = (own[backend, precision] for precision in ("fp32", "int8"))
            cells += [f"{fp32['p50_ms']:.3f}", f"{int8['p50_ms']:.3f}", ratio_text(int8["against"]["fp32"])]
        rows.append(cells)
    placements = {row["placement"] for row in _defaults(document) if row["precision"] == "int8"}
    return (f"{markdown(columns, rows)}\nMedians over the repeats. INT8 is placed as `edge-se export --int8` places it "
            f"by itself, here {' or '.join(f'`{name}`' for name in sorted(placements))}.\n")


def _excitations(document: Document) -> str:
    columns = ["net", "runtime", "INT8 placement", "ms", "over `all` (95 % CI)",
               "added by SE over the plain net, time % (95 % CI)"]
    untrained = [row for row in document["rows"] if row["weights"] == "untrained" and row["precision"] == "int8"]
    placed = {row["net"] for row in untrained if not row["default"]}
    rows = []
    for row in untrained:
        if row["net"] in placed and row["net"] not in document["families"].values():
            rows.append([f"`{row['net']}`", RUNTIMES[row["backend"]],
                         f"{row['placement']}{' (default)' if row['default'] else ''}", f"{row['p50_ms']:.3f}",
                         ratio_text(row["against"].get("all")), added(row["against"].get("plain"))])
    return markdown(columns, rows, left=3)


def _controls(document: Document) -> str:
    values = [net["values"] for net in document["nets"]]
    same, trained = ([row["against"][name] for row in document["rows"] if name in row["against"]]
                     for name in ("same_file", "untrained"))
    total = {name: f"{sum(one[name] for one in values):,}" for name in ("values", "weights", "denormals", "not_finite")}
    lines = [
        f"- Of the {total['values']} activations (one image of noise, FP32) and the {total['weights']} weights of the "
        f"untrained nets {total['denormals']} are denormal, {total['not_finite']} not finite. The RMS of a feature map "
        f"is between {min(one['rms_min'] for one in values):.2g} and {max(one['rms_max'] for one in values):.2g}, and "
        f"{100 * max(one['largest_share_of_zeros'] for one in values):.0f} % of its values are zero at most."]
    for ratios, what in ((trained, "The bundled weights over random ones, in the same nets"),
                         (same, "One file timed twice, as two")):
        if ratios:
            lines.append(f"- {what}: {_span(ratios)}.")
    return "\n".join(lines) + "\n"


def _span(group: list[Ratio]) -> str:
    """Extremes of ratios, and how many of their intervals do not hold 1."""
    ratios, intervals = [one["ratio"] for one in group], [one for one in group if one["low"] is not None]
    out = sum(not one["low"] <= 1 <= one["high"] for one in intervals)
    return (f"ratios of time between {min(ratios):.3f} and {max(ratios):.3f} (pairs: {len(group)}; intervals that "
            f"leave 1 out: {out} of {len(intervals)})")


def _conditions(document: Document) -> str:
    hardware, versions = document["environment"]["hardware"], document["environment"]["versions"]
    spread = [row["cv"] for row in document["rows"]]
    noisy, middle = document["noisy_rows"], sorted(spread)[len(spread) // 2]
    return (f"onnxruntime {versions['onnxruntime']}"
            + (f", OpenVINO {versions['openvino']}" if "openvino" in versions else "")
            + f", 1 thread, batch 1, on {hardware['cpu']} ({hardware['cores']} cores, {', '.join(hardware['flags'])}); "
            f"{document['repeats']} repeats of {document['seconds']:g} s a file. Load average before: "
            f"{document['load_average']:.1f}; coefficient of variation within a repeat: {100 * middle:.1f} % in the "
            f"median file, {100 * max(spread):.1f} % at most, above {100 * CV_WARNING:g} % in {noisy} of "
            f"{len(spread)}.\n")


def cost_figure(document: Document, path: Path) -> None:
    """Added time of each net over its plain one: a panel per runtime, a colour per precision, 95 % intervals."""
    require_figures(path)
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    nets = [net["net"] for net in document["nets"] if net["attention"] != "none"]
    backends = _backends(document)
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(2 + 3.4 * len(backends), 1.3 + 0.26 * len(nets)), layout="constrained")
        panels = figure.subplots(1, len(backends), sharex=True, sharey=True, squeeze=False)[0]
        for axes, backend in zip(panels, backends):
            for row in _defaults(document):
                if row["backend"] == backend and row["net"] in nets:
                    percent = {name: None if value is None else 100 * (value - 1)
                               for name, value in row["against"]["plain"].items()}
                    height = nets.index(row["net"]) + (-0.14 if row["precision"] == "fp32" else 0.14)
                    colour = COLOURS[row["precision"]]
                    if percent["low"] is not None:
                        axes.plot([percent["low"], percent["high"]], [height, height], "-", color=colour, linewidth=1)
                    axes.plot([percent["ratio"]], [height], "o", color=colour, markersize=4)
            axes.axvline(0, color="black", linewidth=0.6)
            axes.grid(axis="y", linewidth=0.3)
            axes.set_title(RUNTIMES[backend], fontsize=8, loc="right")
            axes.set_xlabel("added time over the plain net, %")
        panels[0].set_yticks(range(len(nets)), nets)
        panels[0].invert_yaxis()
        panels[0].legend(handles=[Line2D([], [], color=colour, marker="o", markersize=4, label=precision.upper())
                                  for precision, colour in COLOURS.items()], frameon=False, loc="lower left",
                         bbox_to_anchor=(-0.02, 1), ncols=2)
        content = io.BytesIO()
        figure.savefig(content, format=path.suffix[1:], dpi=150,
                       metadata={"Date": None} if path.suffix == ".svg" else None)
    write_bytes(path, content.getvalue())


def _backends(document: Document) -> list[str]:
    have = {row["backend"] for row in document["rows"]}
    return [name for name in RUNTIMES if name in have]


def _defaults(document: Document) -> Iterable[Row]:
    """FP32 and INT8 as `export` makes them, with random weights."""
    return [row for row in document["rows"] if row["default"] and row["weights"] == "untrained"]


def ratio_text(ratio: Ratio | None) -> str:
    """A ratio with its interval, where there is one."""
    if ratio is None:
        return DASH
    return f"{ratio['ratio']:.3f}" + ("" if ratio["low"] is None else f" ({ratio['low']:.3f} to {ratio['high']:.3f})")


def added(change: Ratio | None) -> str:
    """A ratio as percent beyond 1."""
    if change is None:
        return DASH
    ratio, low, high = (None if change[name] is None else 100 * (change[name] - 1) for name in ("ratio", "low", "high"))
    return f"{ratio:+.1f}" + ("" if low is None else f" ({low:+.1f} to {high:+.1f})")
