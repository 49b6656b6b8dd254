"""What a convolution or a pool slides over its input: how many windows there are, and where the last one ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_se.graph.view import attribute

POOLS = ("AveragePool", "LpPool", "MaxPool")
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Window:
    """What slides over an input of `size`: its numbers for each axis, and (2, axes) pads."""

    size: Ints
    kernel: Ints
    dilations: Ints
    strides: Ints
    pads: Ints

    @classmethod
    def of(cls, node: onnx.NodeProto, kernel: Sequence[int], size: Sequence[int]) -> Window:
        """That of `node`, whose attributes may leave out what is 1 or 0."""
        strides, dilations = (np.array(attribute(node, name, [1] * len(size))) for name in ("strides", "dilations"))
        return cls(size=np.array(size), kernel=np.array(kernel), dilations=dilations, strides=strides,
                   pads=np.array(attribute(node, "pads", [0, 0] * len(size))).reshape(2, -1))

    @property
    def reach(self) -> Ints:
        """From its first place to its last one."""
        return (self.kernel - 1) * self.dilations + 1

    @property
    def beyond(self) -> Ints:
        """How far the last one goes over the padded end where their number is rounded up; none begins there."""
        count = self._steps - self._begins_outside
        over: Ints = count * self.strides + self.reach - self.size - self.pads.sum(0)
        return over.clip(0)

    @property
    def is_one_less(self) -> bool:
        """Whether rounding their number up counts one that begins in the padding behind the end.

        Torch and onnxruntime have no such window; OpenVINO 2026.4 has it in a MaxPool, and onnx below opset 22
        (findings/openvino_window_of_padding.sh).
        """
        return bool(self._begins_outside.any())

    @property
    def _steps(self) -> Ints:
        steps: Ints = -(-(self.size + self.pads.sum(0) - self.reach) // self.strides)
        return steps

    @property
    def _begins_outside(self) -> NDArray[np.bool_]:
        outside: NDArray[np.bool_] = self._steps * self.strides >= self.size + self.pads[0]
        return outside


def rounds_up(node: onnx.NodeProto) -> bool:
    """Whether the number of a pool's windows is rounded up."""
    return node.op_type in POOLS and bool(attribute(node, "ceil_mode", 0))


def pad_numbers(node: onnx.NodeProto, pads: Ints) -> None:
    """Gives a layer these (2, axes) pads in place of its own, of `auto_pad` and of `ceil_mode`."""
    kept = [entry for entry in node.attribute if entry.name not in ("auto_pad", "ceil_mode", "pads")]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute("pads", [int(each) for each in pads.reshape(-1)])])


def rounded_down(window: Window) -> Ints:
    """The pads with which a pool that rounds up has the same windows when it rounds down."""
    pads: Ints = window.pads + np.stack([np.zeros_like(window.beyond), window.beyond])
    return pads
