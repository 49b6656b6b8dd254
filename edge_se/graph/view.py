"""An index over an ONNX graph: who makes a tensor, who reads it, what is constant."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper


class GraphView:
    """Read-only look-ups over one graph; make a new one after changing the graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.producer = {output: node for node in self.graph.node for output in node.output}
        self.consumers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.graph.node:
            for name in node.input:
                self.consumers[name].append(node)
        self.initializers = {initializer.name: initializer for initializer in self.graph.initializer}
        self.outputs = {output.name for output in self.graph.output}

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """The value of an initializer or Constant node, or None when the tensor is computed."""
        if name in self.initializers:
            return numpy_helper.to_array(self.initializers[name])
        node = self.producer.get(name)
        if node is not None and node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    return numpy_helper.to_array(attribute.t)
        return None

    def data_inputs(self, node: onnx.NodeProto) -> list[str]:
        """Inputs of `node` that are computed, in order."""
        return [name for name in node.input if name and self.constant(name) is None]

    def only_consumer(self, name: str) -> onnx.NodeProto | None:
        """The only node that reads `name`; None when there are several or `name` is an output of the graph."""
        readers = self.consumers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.outputs else None


def attribute(node: onnx.NodeProto, name: str, default: object = None) -> object:
    """The value of an attribute of `node`."""
    for candidate in node.attribute:
        if candidate.name == name:
            return onnx.helper.get_attribute_value(candidate)
    return default


def node_label(node: onnx.NodeProto) -> str:
    """How a message names a node."""
    return f"{node.op_type} node '{node.name or node.output[0]}'"
