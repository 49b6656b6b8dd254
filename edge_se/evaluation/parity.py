"""Whether an exported graph computes what its net in torch does."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_se.backends.base import Device
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.core.errors import ModelError
from edge_se.data.images import Images
from edge_se.graph.source import Source

TORCH_TOLERANCE = 1e-3  # of logits of order 10: float32 sums in another order, batch norm folded
PARITY_IMAGES = 64


def parity(source: Source, images: Images) -> dict[str, Any]:
    """How far the graph is from its net on `images`; {} for a file, which has no net. ModelError when it is too far."""
    if source.reference is None:
        return {}
    images = images.first(PARITY_IMAGES)
    fixed = source.model.input_shape[0]
    expected = source.reference(next(images.batches(PARITY_IMAGES)))
    with OnnxRuntime().open(source.model, Device()) as session:
        logits = np.concatenate(list(session.logits(images, fixed or PARITY_IMAGES, fixed is not None)))
    distance = float(np.abs(logits - expected).max())
    if not distance <= TORCH_TOLERANCE * max(1.0, float(np.abs(expected).max()) / 10):
        raise ModelError(f"the exported graph differs from torch by {distance:.2g} in a logit, more than "
                         f"{TORCH_TOLERANCE:g}", where=source.model.file_name,
                         fix="check the versions of torch and onnxscript")
    return {"torch_vs_onnx": {"max_abs": distance, "tolerance": TORCH_TOLERANCE, "images": len(images),
                              "of": images.name}}
