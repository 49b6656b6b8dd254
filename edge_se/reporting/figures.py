"""Figures, by matplotlib (the extra `plots`): files of the kind that their name ends with (.svg, .png, .pdf)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from edge_se.core.errors import EdgeSeError, UnavailableError
from edge_se.core.files import write_bytes

KINDS = {"layer": ("#4c72b0", "layer"), "se-gate": ("#dd8452", "excitation"), "operator": ("#8c8c8c", "operator")}
FORMATS = (".svg", ".png", ".pdf")
SETTINGS = {"svg.hashsalt": "edge-se", "font.size": 8, "axes.spines.top": False, "axes.spines.right": False}


def require_figures(path: Path) -> None:
    """EdgeSeError when `path` cannot become a figure here; called before anything takes time."""
    if path.suffix not in FORMATS:
        raise EdgeSeError(f"'{path.suffix}' is no kind of figure", where=path, fix=f"end the name with one of "
                          f"{', '.join(FORMATS)}")
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as missing:
        raise UnavailableError("figures need matplotlib", where=path, fix="pip install 'edge-se[plots]'") from missing


def sensitivity_figure(document: dict[str, Any], path: Path) -> None:
    """What INT8 costs (SQNR of the logits) and brings (ms) per unit, in graph order, as `sensitivity` measured it."""
    require_figures(path)
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    units = document["units"]
    timed = any(unit["brings_ms"] is not None for unit in units)
    colours = [KINDS[unit["kind"]][0] for unit in units]
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9, 1.4 + 0.16 * len(units)), layout="constrained")
        axes = figure.subplots(1, 2 if timed else 1, sharey=True, squeeze=False)[0]
        axes[0].barh(range(len(units)), [unit["sqnr_db"] for unit in units], color=colours)
        axes[0].set_yticks(range(len(units)), [unit["name"] for unit in units])
        axes[0].margins(y=0.01)
        axes[0].invert_yaxis()
        axes[0].set_xlabel("costs: SQNR of the logits, dB (shorter is worse)")
        if timed:
            axes[1].barh(range(len(units)), [unit["brings_ms"] or 0.0 for unit in units], color=colours)
            axes[1].axvline(0, color="black", linewidth=0.6)
            axes[1].set_xlabel("brings: ms against FP32 (left of 0: slower)")
        used = [kind for kind in KINDS if any(unit["kind"] == kind for unit in units)]
        axes[0].legend(handles=[Patch(color=KINDS[kind][0], label=KINDS[kind][1]) for kind in used], frameon=False,
                       loc="lower left", bbox_to_anchor=(0, 1), ncols=len(used))
        figure.suptitle(f"{document['model']}, target {document['target']}: each unit alone in INT8, "
                        f"{document['n']:,} images of {document['dataset']}", fontsize=9)
        content = io.BytesIO()
        figure.savefig(content, format=path.suffix[1:], dpi=150, metadata={"Date": None} if path.suffix == ".svg"
                       else None)
    write_bytes(path, content.getvalue())
