"""Which runtime of which version on which processor runs a file: the rules of its target, looked up.

Rules are data: a target owns them (`edge_se.graph.targets`), a bundle carries them, and `open` sends them to a device.
This one function reads them everywhere. Of the rules of a runtime the first whose conditions all hold decides:

    runtime      name of the runtime, as `BACKENDS` has it
    machine      beginnings, one of which `platform.machine()` has
    lacks        processor flags, of which there is none
    before       a version that is newer than the runtime's
    opset_from   the file's opset is this one or newer
    reason       why not, with {version} and {opset} for what is there; None: the file runs
    as_written   the runtime must not rewrite the file, also where it runs it for its answers alone

A condition on what is not known does not hold: what nobody knows refuses nothing.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Rule = Mapping[str, Any]

FLOAT = "any"  # the target of FP32 and FP16 files, which are written for every runtime
SHOWN = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT", "openvino": "OpenVINO"}


def unfit(target: str, rules: Iterable[Rule], runtime: str, *, version: str | None = None, machine: str | None = None,
          flags: Iterable[str] = (), opset: int | None = None) -> str | None:
    """Why a file for `target` is not for `runtime`, or None where it is; without a rule it is not."""
    if target == FLOAT:
        return None
    own = set(flags)
    for rule in rules:
        if rule["runtime"] != runtime:
            continue
        if (("machine" not in rule or (machine or "").lower().startswith(tuple(rule["machine"])))
                and ("lacks" not in rule or (own and not own & set(rule["lacks"])))
                and ("before" not in rule or (version is not None and _numbers(version) < _numbers(rule["before"])))
                and ("opset_from" not in rule or (opset is not None and opset >= rule["opset_from"]))):
            reason = rule["reason"]
            return reason and str(reason).replace("{version}", str(version)).replace("{opset}", str(opset))
    return f"written for {target}, not for {SHOWN.get(runtime, runtime)}"


def as_written(rules: Iterable[Rule], runtime: str) -> bool:
    """Whether `runtime` must run the file without rewriting it."""
    return any(rule.get("as_written", False) for rule in rules if rule["runtime"] == runtime)


def sound(rules: Any) -> bool:
    """Whether rules that come from a file are what `unfit` takes for granted."""
    kinds: dict[str, Any] = {"runtime": str, "reason": (str, type(None)), "before": str, "opset_from": int,
                             "as_written": bool}
    return isinstance(rules, list) and all(
        isinstance(rule, dict) and {"runtime", "reason"} <= set(rule)
        and all(isinstance(rule[key], kind) for key, kind in kinds.items() if key in rule)
        and all(isinstance(rule.get(key, []), list) and all(isinstance(text, str) for text in rule.get(key, []))
                for key in ("machine", "lacks"))
        for rule in rules)


def _numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
