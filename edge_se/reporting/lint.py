"""What `lint` shows: a table of rules, sentences that teach, and what each runtime computed."""

from __future__ import annotations

from typing import Any

from edge_se.quantization.lint.base import KINDS, RUNTIMES, SIMULATED, Kind, seen_in
from edge_se.reporting.tables import DASH, Rows


def rule_rows(document: dict[str, Any]) -> Rows:
    """A row for each rule that the file breaks."""
    rows = []
    for row in document["rules"]:
        cost = row["cost"] or {}
        rows.append([row["rule"], row["kind"], RUNTIMES[row["runtime"]], str(len(row["nodes"])),
                     *_figures(cost.get("sqnr_db"), cost.get("flips"))])
    return ["rule", "kind", "runtime", "nodes", "dB", "flips"], rows


def run_rows(document: dict[str, Any]) -> Rows:
    """A row for each runtime that ran the file, against the file as it is written."""
    rows = []
    for run in document["runs"]:
        words = f"{RUNTIMES[run['runtime']]} {run['version'] or ''}".strip()
        rows.append([words, run["setting"], "refuses it" if run["refusal"] else "takes it",
                     *_figures(run["sqnr_db"], run["flips"])])
    return ["runtime", "setting", "", "dB", "flips"], rows


def told(row: dict[str, Any]) -> list[str]:
    """What a rule's row says in sentences: what happens, what it costs where that is known, and the fix."""
    kind: Kind = row["kind"]
    sentences = [f"{row['rule']} ({KINDS[kind]}), {seen_in(row['runtime'], row['versions'])}: {row['instead']}."]
    if row["cost"] is not None:
        how = SIMULATED if row["cost"]["setting"] == SIMULATED else f"run ({row['cost']['setting']})"
        sentences.append(f"Cost: {row['cost']['sqnr_db']:.1f} dB and {row['cost']['flips']} flips against the file as "
                         f"it is written, {how}.")
    return [*sentences, f"Fix: {row['fix']}.{' --fix does it.' if row['repairable'] else ''}"]


def nodes(row: dict[str, Any], most: int | None) -> list[str]:
    """A line for each node of a rule's row, for at most `most` of them."""
    left = len(row["nodes"]) - len(row["nodes"][:most])
    return [*(f"{node['node']}: {node['detail']}" for node in row["nodes"][:most]),
            *([f"and {left} more (--wide)"] if left else [])]


def summary(document: dict[str, Any]) -> str:
    """How many rules the file breaks, of how many, and what it was run on."""
    ran = document["images"]
    where = f", run on {ran['n']} images of {ran['name']}" if document["runs"] and ran else ", not run"
    return f"{document['file']}: breaks {len(document['rules'])} of {len(document['checked'])} rules{where}"


def repaired(fixed: dict[str, Any]) -> str:
    """What `--fix` changed, what is left, and how near the answers are."""
    changes = ", ".join(f"{name} ({count})" for name, count in fixed["changes"].items()) or "nothing"
    left = ", ".join(fixed["left"]) or "nothing"
    return f"repaired: {changes}; still broken: {left}; its answers are the same ({fixed['flips']} flips)"


def _figures(sqnr_db: float | None, flips: int | None) -> list[str]:
    return [DASH if sqnr_db is None else f"{sqnr_db:.1f}", DASH if flips is None else str(flips)]
