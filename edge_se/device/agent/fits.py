"""Which runtime of which version on which processor runs a file: the rules of its target, looked up.

Rules are data: a target owns them (`edge_se.graph.targets`), a bundle carries them, and `open` sends them to a device.
This one function reads them everywhere. The first rule of a runtime whose conditions all hold decides:

    runtime      name of the runtime, as `BACKENDS` has it
    machine      `platform.machine()` starts with one of these
    lacks        the processor has none of these flags
    before       the runtime is older than this version
    opset_from   the file's opset is this one or newer
    reason       why the file does not run, with {version} and {opset} filled in; None: it runs
    as_written   the runtime must not rewrite the file, even when only its answers count
    without      rewritings of the runtime, by its own names, that change what the file says: they are left out

A condition on an unknown value does not hold, so it refuses nothing.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Rule = Mapping[str, Any]

FLOAT = "any"  # the target of FP32 and FP16 files, which are written for every runtime
SHOWN = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT", "openvino": "OpenVINO", "litert": "LiteRT"}


def unfit(target: str, rules: Iterable[Rule], runtime: str, *, version: str | None = None, machine: str | None = None,
          flags: Iterable[str] = (), opset: int | None = None) -> str | None:
    """Why `runtime` does not run a file for `target`, or None when it does. Without a rule it does not."""
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


def rewriting(rules: Iterable[Rule], runtime: str) -> dict[str, Any]:
    """`as_written` and `without` for `OnnxRuntimeRunner`, as the rules of `runtime` ask for them."""
    own = [rule for rule in rules if rule["runtime"] == runtime]
    return {"as_written": as_written(own, runtime),
            "without": sorted({name for rule in own for name in rule.get("without", ())})}


def sound(rules: Any) -> bool:
    """Whether rules from a file have the form that `unfit` relies on."""
    kinds: dict[str, Any] = {"runtime": str, "reason": (str, type(None)), "before": str, "opset_from": int,
                             "as_written": bool}
    return isinstance(rules, list) and all(
        isinstance(rule, dict) and {"runtime", "reason"} <= set(rule)
        and all(isinstance(rule[key], kind) for key, kind in kinds.items() if key in rule)
        and all(isinstance(rule.get(key, []), list) and all(isinstance(text, str) for text in rule.get(key, []))
                for key in ("machine", "lacks", "without"))
        for rule in rules)


def _numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
