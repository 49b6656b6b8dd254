"""An INT8 engine against a baseline: the speed-up in total, by group of causes and by layers that cover the same nodes.

The speed-up is baseline / INT8, of measured latencies where both are given, else of the kernel times (`basis`). A
forecast is Amdahl's law: one part t_c of INT8's time becomes smaller, everything else and the baseline stay:

    forecast = baseline / (INT8 - t_c + t_c')

with t_c' = 0 for reformats, Q/DQ and unfused adds ("removed"); the baseline's time for excitations that are slower than
there ("as in the baseline"); and, for float compute, t_c over the speed-up of those INT8 layers that the baseline has
too ("as the INT8 layers"). It is a bound: what feeds a reformat may become slower without it.

Matches are the smallest sets of layers of both engines that cover the same ONNX nodes, so that different fusions
compare.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge_se.measure.causes import (
    CAUSES,
    COMPUTE,
    EXCITATION,
    FLOAT,
    FP8,
    INT8,
    POINTWISE,
    QUANTIZE,
    REFORMAT,
    Breakdown,
    causes_of,
    operators,
)
from edge_se.measure.layers import FLOATS, Layer

PRODUCTS = (INT8, FP8, FLOAT, COMPUTE)
GROUPS = {"all-compute": PRODUCTS} | {cause: (cause,) for cause in CAUSES if cause not in PRODUCTS}
REMOVABLE = (REFORMAT, QUANTIZE, POINTWISE)
REMOVED, AS_BASELINE, AS_INT8 = "removed", "as in the baseline", "as the INT8 layers"
LEAST_LEFT = 1e-6  # of INT8's time; a saving of all of it is no forecast


@dataclass(frozen=True, kw_only=True)
class GroupTime:
    """One group of causes in both engines; `speedup` is None where one of them takes no time."""

    group: str
    milliseconds: float
    baseline_ms: float
    speedup: float | None


@dataclass(frozen=True, kw_only=True)
class Match:
    """Layers of both engines that cover the same ONNX nodes."""

    nodes: tuple[str, ...]
    layers: tuple[str, ...]
    baseline_layers: tuple[str, ...]
    causes: tuple[str, ...]
    milliseconds: float
    baseline_ms: float
    speedup: float


@dataclass(frozen=True, kw_only=True)
class WouldBe:
    """The speed-up if one part were smaller; see the docstring of the module."""

    cause: str
    how: str
    speedup: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """INT8 against a baseline; `matched_share` is the part of INT8's kernel time that has a match."""

    basis: str
    milliseconds: float
    baseline_ms: float
    baseline_precision: str | None
    speedup: float
    kernel_speedup: float
    would_be: tuple[WouldBe, ...]
    groups: tuple[GroupTime, ...]
    matches: tuple[Match, ...]
    matched_share: float


def compare(int8: Breakdown, baseline: Breakdown, latencies: tuple[float, float] | None = None) -> Comparison:
    """`latencies`: those of INT8 and of the baseline, in milliseconds."""
    total, reference = latencies or (int8.milliseconds, baseline.milliseconds)
    groups = []
    for group, members in GROUPS.items():
        ours, theirs = int8.of(*members), baseline.of(*members)
        if ours or theirs:
            groups.append(GroupTime(group=group, milliseconds=ours, baseline_ms=theirs,
                                    speedup=theirs / ours if ours and theirs else None))
    matches = _matches(int8, baseline)
    would_be = [WouldBe(cause=cause, how=how, speedup=reference / (total - saved))
                for cause, how, saved in _savings(int8, baseline, matches) if total - saved > LEAST_LEFT * total]
    return Comparison(
        basis="latency" if latencies else "kernels", milliseconds=total, baseline_ms=reference,
        baseline_precision=_main_precision(baseline), speedup=reference / total,
        kernel_speedup=baseline.milliseconds / int8.milliseconds, groups=tuple(groups), matches=tuple(matches),
        would_be=tuple(sorted(would_be, key=lambda item: -item.speedup)),
        matched_share=math.fsum(match.milliseconds for match in matches) / int8.milliseconds)


def _savings(int8: Breakdown, baseline: Breakdown, matches: Sequence[Match]) -> list[tuple[str, str, float]]:
    """(cause, how, milliseconds): the time that INT8 would save."""
    savings = [(cause, REMOVED, int8.of(cause)) for cause in REMOVABLE if int8.of(cause)]
    excitations = baseline.of(EXCITATION)
    if 0 < excitations < int8.of(EXCITATION):
        savings.append((EXCITATION, AS_BASELINE, int8.of(EXCITATION) - excitations))
    products = [match for match in matches if set(match.causes) == {INT8}]
    if products and int8.of(FLOAT):
        spent, before = (math.fsum(times) for times in zip(*((match.milliseconds, match.baseline_ms)
                                                             for match in products)))
        if before > spent:
            savings.append((FLOAT, AS_INT8, int8.of(FLOAT) * (1 - spent / before)))
    return savings


def _main_precision(baseline: Breakdown) -> str | None:
    """The float type in which its convolutions and matrix products spend most of their time."""
    times = dict[str, float]()
    for layer in baseline.layers:
        if layer.computes in FLOATS:
            times[layer.computes] = times.get(layer.computes, 0.0) + layer.milliseconds
    return max(times, key=lambda name: times[name]) if times else None


def _matches(int8: Breakdown, baseline: Breakdown) -> list[Match]:
    """The longest in INT8 first."""
    parent = dict[str, str]()

    def root(node: str) -> str:
        while parent.setdefault(node, node) != node:
            parent[node] = node = parent[parent[node]]
        return node

    sides = [[(layer, operators(layer)) for layer in one.engine.layers if layer.milliseconds]
             for one in (int8, baseline)]
    for _, nodes in (*sides[0], *sides[1]):
        for node in nodes[1:]:
            parent[root(node)] = root(nodes[0])
    sets = dict[str, tuple[list[Layer], list[Layer]]]()
    for side, layers in enumerate(sides):
        for layer, nodes in layers:
            if nodes:
                sets.setdefault(root(nodes[0]), ([], []))[side].append(layer)
    causes = {id(layer): cause for layer, cause in zip(int8.engine.layers, causes_of(int8.engine))}
    matches = [_match(ours, theirs, [causes[id(layer)] for layer in ours]) for ours, theirs in sets.values()
               if ours and theirs]
    return sorted(matches, key=lambda match: -match.milliseconds)


def _match(ours: Sequence[Layer], theirs: Sequence[Layer], causes: Sequence[str]) -> Match:
    times = [math.fsum(layer.milliseconds or 0.0 for layer in side) for side in (ours, theirs)]
    return Match(nodes=tuple(dict.fromkeys(node for layer in (*ours, *theirs) for node in operators(layer))),
                 layers=tuple(layer.name for layer in ours), baseline_layers=tuple(layer.name for layer in theirs),
                 causes=tuple(dict.fromkeys(causes)), milliseconds=times[0], baseline_ms=times[1],
                 speedup=times[1] / times[0])
