"""Every rule: the `RULES` of each module of `rules`; and which of them a file is held against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from pkgutil import iter_modules

from edge_se.core.errors import EdgeSeError, did_you_mean
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.targets.table import TARGETS
from edge_se.quantization.lint import rules
from edge_se.quantization.lint.base import KINDS, RUNTIMES, Finding, Rule
from edge_se.quantization.lint.qdq import QdqView

_MODULES = [import_module(f"{rules.__name__}.{module.name}") for module in iter_modules(rules.__path__)]
_ORDER, _PLACES = list(KINDS), list(RUNTIMES)
RULES: dict[str, Rule] = {rule.name: rule for rule in sorted(
    (rule for module in _MODULES for rule in vars(module)["RULES"]),
    key=lambda rule: (_PLACES.index(rule.runtime), _ORDER.index(rule.kind), rule.name))}


def runtimes_for(names: Sequence[str] | None) -> list[str]:
    """The runtimes that `names` of targets and runtimes mean, `any` last; all without names.

    Raises EdgeSeError for an unknown name.
    """
    if names is None:
        return list(RUNTIMES)
    known = {name: name for name in RUNTIMES if name != "any"} | {
        target.name: next(str(rule["runtime"]) for rule in target.rules if rule["reason"] is None)
        for target in TARGETS.values()}
    for name in names:
        if name not in known:
            raise EdgeSeError(f"unknown target or runtime '{name}'", where="--for", fix=did_you_mean(name, known))
    return [*dict.fromkeys(known[name] for name in names), "any"]


def rules_for(runtimes: Iterable[str]) -> list[Rule]:
    """The rules of these runtimes, in the order of the table."""
    wanted = set(runtimes)
    return [rule for rule in RULES.values() if rule.runtime in wanted]


def broken_by(model: OnnxModel, held: Iterable[Rule]) -> list[tuple[Rule, list[Finding]]]:
    """(rule, its findings) of each rule that a file breaks."""
    view = QdqView(model.proto)
    return [(rule, findings) for rule in held if (findings := list(rule.find(view)))]
