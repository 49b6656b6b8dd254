"""The rules of `edge-se lint` as tables, from the rules themselves."""

from __future__ import annotations

from edge_se.quantization.lint.base import KINDS, RUNTIMES
from edge_se.quantization.lint.table import RULES
from edge_se.reporting.tables import markdown


def rules_table() -> str:
    """A row for each rule."""
    rows = [[f"`{rule.name}`", rule.kind, f"{RUNTIMES[rule.runtime]} {rule.versions}", rule.instead, rule.fix,
             "yes" if rule.repair else ""] for rule in RULES.values()]
    return markdown(["rule", "kind", "seen in", "what happens instead", "fix", "`--fix`"], rows, left=6)


def kinds_table() -> str:
    """What the kinds mean."""
    return markdown(["kind", "meaning"], [[kind, meaning] for kind, meaning in KINDS.items()], left=2)
