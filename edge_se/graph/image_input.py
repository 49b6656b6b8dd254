"""What a graph itself tells of the images that it takes: order of axes, channels, size and type."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from edge_se.core.errors import ModelError
from edge_se.graph.onnx_model import image_input
from edge_se.graph.view import GraphView

CHANNELS = (1, 3)
MOVED = ("Identity", "Cast", "Transpose", "Pad")  # pixels are where they were, or elsewhere
PARTED = ("Concat", "DepthToSpace", "Flatten", "Gather", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze",
          "Unsqueeze")  # pixels in patches, or some of them: no axis may be that of the channels
SCALED = ("Add", "Sub", "Mul", "Div")  # by a constant
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
    tensor = image_input(proto, path).type.tensor_type
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


def fix_size(proto: onnx.ModelProto, size: tuple[int, int] | None, axes: str | None, path: Path) -> None:
    """Gives the input of `proto` the user's (height, width) where it is dynamic, and forgets what was known without it.

    Raises ModelError where the graph fixes another size, or, without a `size`, one of the two is dynamic.
    """
    image = image_facts(proto, axes, path)
    height, width = image.size
    if size is None and height and width:
        return
    if size is None:
        shown = (image.batch, *((image.channels, height, width) if image.axes == "NCHW" else
                                (height, width, image.channels)))
        raise ModelError(f"input of shape {shown}: its height and width are not fixed", where=path,
                         fix="say the size of the images that it sees: --input-size N, or --input-size HEIGHTxWIDTH")
    if height and width:
        raise ModelError(f"the file fixes its size at {height}x{width}", where=f"--input-size {size_text(size)}",
                         fix="leave --input-size out, or export the model at that size")
    if height not in (None, size[0]) or width not in (None, size[1]):
        fixed = f"height at {height}" if height else f"width at {width}"
        raise ModelError(f"the file fixes its {fixed}", where=f"--input-size {size_text(size)}",
                         fix=f"give {size_text((height or size[0], width or size[1]))}")
    dims = image_input(proto).type.tensor_type.shape.dim
    for position, value in zip(_AXES[image.axes][1:], size):
        dims[position].dim_value = value
    del proto.graph.value_info[:]


def size_text(size: tuple[int, int]) -> str:
    """As `--input-size` takes it: `224`, or `48x192` for height and width."""
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"


def image_forms(proto: onnx.ModelProto, operators: tuple[str, ...] = (*MOVED, *PARTED, *SCALED)) -> list[str]:
    """The input and, in the order of the graph, the tensors that are it or parts of it but for layout, type and
    normalisation.

    `operators` are those that count as such. Each reads one tensor that is computed, a Concat nothing else than such.
    """
    view, forms = GraphView(proto), [image_input(proto).name]
    for node in proto.graph.node:
        read = view.data_inputs(node)
        alone = len(read) == (len(node.input) if node.op_type == "Concat" else 1)
        if node.op_type in operators and alone and all(name in forms for name in read):
            forms.extend(name for name in node.output if name)
    return forms
