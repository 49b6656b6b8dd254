"""Puts the names of a graph aside while foreign code works on it that derives new names from them.

onnxruntime's quantizer calls the scale of a tensor `feat` `feat_scale`. Where the network has a tensor of that name,
one takes the place of the other: the file does not load, or, worse, loads and computes something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import onnx

NEUTRAL = re.compile(r"#[vn]\d{6}#")


class NeutralNames:
    """Gives every value and node of `proto`, which has no control flow, a name that no other is derived from by chance.

    `names["feat"]` is the neutral name of a value; names from outside the graph stay as they are. `restore` brings the
    names back. A name that was derived from a neutral one is then derived from the original, with a number if taken.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        graph = proto.graph
        values = dict.fromkeys(name for name in _values(graph) if name)
        self._neutral = {name: f"#v{position:06}#" for position, name in enumerate(values)}
        self._original = {neutral: name for name, neutral in self._neutral.items()}
        for position, node in enumerate(graph.node):
            neutral = f"#n{position:06}#"
            self._original[neutral], node.name = node.name, neutral
        _rename(graph, self._neutral)

    def __getitem__(self, name: str) -> str:
        return self._neutral.get(name, name)

    def restore(self, proto: onnx.ModelProto) -> None:
        """Names in `proto` as they were before."""
        values = dict.fromkeys(name for name in _values(proto.graph) if name)
        taken = {self._original[name] for name in values if name in self._original}
        final = {name: self._original[name] if name in self._original else self._free(name, taken) for name in values}
        _rename(proto.graph, final)
        named = {self._original[node.name] for node in proto.graph.node if node.name in self._original}
        for node in proto.graph.node:
            node.name = self._original[node.name] if node.name in self._original else self._free(node.name, named)

    def _free(self, name: str, taken: set[str]) -> str:
        """Derives a name from the original one as `name` was derived from the neutral one, and adds it to `taken`."""
        wished = NEUTRAL.sub(lambda token: self._original.get(token[0], token[0]), name)
        free, count = wished, 1
        while free in taken:
            free, count = f"{wished}_{count}", count + 1
        taken.add(free)
        return free


def _values(graph: onnx.GraphProto) -> Iterator[str]:
    for value in (*graph.input, *graph.initializer, *graph.output, *graph.value_info):
        yield value.name
    for node in graph.node:
        yield from (*node.input, *node.output)


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for value in (*graph.input, *graph.initializer, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        for side in (node.input, node.output):
            for position, name in enumerate(side):
                side[position] = names.get(name, name)
