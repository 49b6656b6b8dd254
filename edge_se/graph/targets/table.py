"""Every target by name: the `TARGET` of each module of this package, in their `order`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from edge_se.core.errors import EdgeSeError, did_you_mean
from edge_se.graph import targets
from edge_se.graph.targets.base import Target

FLOAT = "any"  # of FP32 and FP16 files, which are written for every runtime; see `edge_se.device.agent.fits`
_MODULES = [import_module(f"{targets.__name__}.{module.name}") for module in iter_modules(targets.__path__)
            if module.name not in ("base", "table")]
TARGETS: dict[str, Target] = {target.name: target for target in sorted(
    (vars(module)["TARGET"] for module in _MODULES), key=lambda target: (target.order, target.name))}


def target_of(name: str) -> Target:
    """A target by name; raises EdgeSeError with a suggestion."""
    if name not in TARGETS:
        raise EdgeSeError(f"unknown target '{name}'", where="--target", fix=did_you_mean(name, TARGETS))
    return TARGETS[name]


def runs_in(name: str, runtime: str, version: str | None = None, *, machine: str | None = None,
            flags: Iterable[str] = (), opset: int | None = None) -> str | None:
    """`Target.runs_in` of the target of this name. `any` runs everywhere, an unknown name nowhere."""
    if name == FLOAT:
        return None
    if name not in TARGETS:
        return f"written for {name}, which this edge-se does not know"
    return TARGETS[name].runs_in(runtime, version, machine=machine, flags=flags, opset=opset)


def rules_of(name: str) -> list[Mapping[str, Any]]:
    """The rules of a target that are sent to a device, as JSON; empty for `any`, which needs none."""
    return [dict(rule) for rule in TARGETS[name].rules] if name in TARGETS else []


def is_for(name: str, runtime: str) -> bool:
    """Whether `runtime` may run files for the target of this name, on some machine in some version."""
    return name == FLOAT or (name in TARGETS and TARGETS[name].is_for(runtime))


def is_dynamic(name: str) -> bool:
    """Whether files of the target take the ranges of activations as they run: onnxruntime one for a whole batch."""
    return name in TARGETS and not TARGETS[name].calibrated


def is_simulated(name: str) -> bool:
    """Whether the runtime that computes the accuracy of the target's files here is not the one that serves them."""
    return name in TARGETS and TARGETS[name].simulated
