"""Reductions of which OpenVINO loses the axes, in operators that it reads right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper

from edge_se.graph.onnx_model import opset_of
from edge_se.graph.rewrites import add_constant, free_name
from edge_se.graph.view import GraphView, attribute

KINDS = ("ReduceL1", "ReduceLogSum", "ReduceLogSumExp")
AXES_AS_INPUT = 13  # the opset from which ReduceSum and Squeeze read them


def losing_axes(view: GraphView) -> Iterator[onnx.NodeProto]:
    """Reductions that OpenVINO 2026.4 makes over all axes, whatever their attribute says.

    Other kinds, and these from opset 18 on, where axes are an input, it reads right (findings/openvino_lost_axes.sh).
    """
    for node in view.graph.node:
        if node.op_type in KINDS and attribute(node, "axes") is not None:
            yield node


def spelled_out_reductions(model: onnx.ModelProto) -> int:
    """Replaces these by ReduceSum and what stands around it; returns how many. Changes `model`, of opset 13 or later.

    The largest is taken out of exponentials and added to their logarithm, so that none overflows.
    """
    if opset_of(model) < AXES_AS_INPUT:
        return 0
    nodes = list(losing_axes(GraphView(model)))
    for node in nodes:
        position = list(model.graph.node).index(node)
        model.graph.node.remove(node)
        for offset, made in enumerate(_Steps(node, model).all()):
            model.graph.node.insert(position + offset, made)
    return len(nodes)


class _Steps:
    """The nodes in place of `node`, the last of which makes its output."""

    def __init__(self, node: onnx.NodeProto, model: onnx.ModelProto) -> None:
        self.node, self.model, self.made = node, model, list[onnx.NodeProto]()
        axes = attribute(node, "axes")
        self.listed = np.array(axes, np.int64)
        self.axes = add_constant(model, f"{node.output[0]}_axes", self.listed)
        self.kept = int(str(attribute(node, "keepdims", 1)))

    def all(self) -> list[onnx.NodeProto]:
        name = self.node.input[0]
        if self.node.op_type == "ReduceL1":
            self._add("ReduceSum", [self._add("Abs", [name]), self.axes], last=True, keepdims=self.kept)
        elif self.node.op_type == "ReduceLogSum":
            self._add("Log", [self._add("ReduceSum", [name, self.axes], keepdims=self.kept)], last=True)
        else:
            largest = self._add("ReduceMax", [name], axes=list(map(int, self.listed)), keepdims=1)
            powers = self._add("Exp", [self._add("Sub", [name, largest])])
            total = self._add("Log", [self._add("ReduceSum", [powers, self.axes], keepdims=1)])
            whole = self._add("Add", [total, largest], last=bool(self.kept))
            if not self.kept:
                self._add("Squeeze", [whole, self.axes], last=True)
        return self.made

    def _add(self, operator: str, inputs: list[str], *, last: bool = False, **attributes: Any) -> str:
        output = self.node.output[0]
        name = output if last else free_name(self.model.graph, f"{output}_{operator.lower()}")
        self.made.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name
