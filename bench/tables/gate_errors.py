"""How often the gate errs, from the simulation's rows."""

from __future__ import annotations

import math

from bench.tables.measured import Document, measured
from edge_se.reporting.tables import markdown


def read_gate_errors() -> Document:
    """What `python bench/gate_errors.py` wrote."""
    return measured("gate_errors")


def error_table() -> str:
    """Shares of the verdicts per setting, fixed and sequential."""
    document = read_gate_errors()
    columns = ["images", "true drop, points", "discordant pairs", "design", "pass", "fail", "inconclusive",
               "images used, mean"]
    rows = [[f"{row['images']:,}", f"{row['drop_pp']:g}", f"{row['discordance_pct']:g} %", row["design"],
             *(f"{100 * row[verdict]:.2f} %" for verdict in ("passes", "fails", "inconclusive")),
             f"{row['mean_images']:,.0f}"] for row in document["rows"]]
    return (f"{markdown(columns, rows, left=4)}\n{document['sets']:,} simulated sets of pairs per row; margin "
            f"{document['margin_pp']:g} points, one-sided alpha {100 * document['alpha']:g} %, {document['looks']} "
            "looks where sequential.\n")


def error_sentence() -> str:
    """The largest rates of either wrong verdict, and the noise of a simulated rate."""
    document = read_gate_errors()
    margin, alpha, sets = (document[key] for key in ("margin_pp", "alpha", "sets"))
    at_margin = [row for row in document["rows"] if row["drop_pp"] == margin]
    parts = []
    for design in ("fixed", "sequential"):
        own = [row for row in at_margin if row["design"] == design]
        parts.append(f"{design}: pass at most {100 * max(row['passes'] for row in own):.2f} %, fail at most "
                     f"{100 * max(row['fails'] for row in own):.2f} %")
    noise = 100 * 1.96 * math.sqrt(alpha * (1 - alpha) / sets)
    return (f"With a true drop of exactly the margin either verdict is wrong, and each should come in at most "
            f"{100 * alpha:g} % of the cases. Simulated, {'; '.join(parts)} (each rate ±{noise:.2f}).\n")
