"""What a graph itself tells of the images that it takes: order of axes, channels, size and type."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from edge_se.core.errors import ModelError
from edge_se.graph.onnx_model import image_input

CHANNELS = (1, 3)
_AXES = {"NCHW": (1, 2, 3), "NHWC": (3, 1, 2)}  # where channels, height and width are


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """`size` is (height, width), `batch` the images at once; None where dynamic. `dtype` is float32 or uint8."""

    axes: str
    channels: int
    size: tuple[int | None, int | None]
    batch: int | None
    dtype: str


def image_facts(proto: onnx.ModelProto, axes: str | None = None, path: Path | None = None) -> ImageInput:
    """What the input of `proto`, which is of `path`, tells; `axes` is what a user says of their order.

    One or three channels tell the axes; where both ends could be channels, they come first. Raises ModelError where
    no axis, or not that of `axes`, has one or three channels.
    """
    tensor = image_input(proto).type.tensor_type
    batch, *sizes = (dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim)
    found = next((name for name in ([axes] if axes else _AXES) if sizes[_AXES[name][0] - 1] in CHANNELS), None)
    if found is None:
        shape = (batch, *sizes)
        places = {"NCHW": "first", "NHWC": "last"}.get(axes or "", "first (NCHW) or last (NHWC)")
        raise ModelError(f"input of shape {shape}: one or three channels are needed, {places}",
                         where=path or proto.graph.name or "graph", fix=f"leave --axes {axes} out: the graph tells"
                         if axes else "export an image classifier with a fixed number of channels")
    channels, height, width = (sizes[position - 1] for position in _AXES[found])
    assert channels is not None  # it is in CHANNELS
    return ImageInput(axes=found, channels=channels, size=(height, width), batch=batch,
                      dtype="uint8" if tensor.elem_type == onnx.TensorProto.UINT8 else "float32")
