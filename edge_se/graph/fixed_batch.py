"""`--batch`: a graph that takes so many images and no other number, for runtimes that refuse a dynamic batch."""

from __future__ import annotations

from edge_se.core.errors import ModelError
from edge_se.graph.onnx_model import OnnxModel, image_input
from edge_se.graph.rewrites import checked

LARGEST = 4096


def with_fixed_batch(model: OnnxModel, batch: int) -> OnnxModel:
    """The same graph for `batch` images, every shape inferred anew.

    Raises ModelError where it is fixed to another batch.
    """
    own = model.input_shape[0]
    if own not in (None, batch):
        raise ModelError(f"the graph takes {own} image{'s' * (own > 1)} at once and no other number",
                         where=f"--batch {batch}", fix="leave --batch out, or export the source with a dynamic batch")
    proto = model.copy()
    del proto.graph.value_info[:]  # of the batch that was dynamic
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    dim = image_input(proto).type.tensor_type.shape.dim[0]
    dim.Clear()
    dim.dim_value = batch
    return OnnxModel.of(checked(proto), precision=model.precision, target=model.target)
