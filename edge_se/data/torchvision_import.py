"""`from edge_se.data.torchvision_import import torchvision`: the import that also works over a CPU-only torch.

PyPI's torchvision wheel is built against CUDA; over a CPU build of torch its compiled operators do not load and
the import dies with "operator torchvision::nms does not exist", because it registers fake kernels for operators
that were never defined. Datasets, transforms and model definitions need none of them, so the two schemas are
defined here first, only when they are missing.
"""

from __future__ import annotations

from typing import Any

import torch


def _define_missing_operators() -> Any:
    try:
        import torchvision  # noqa: F401  (only to learn whether it imports)
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    else:
        return None
    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


_LIBRARY = _define_missing_operators()  # the schemas live as long as this object

import torchvision  # noqa: E402  (after the operators exist)

__all__ = ["torchvision"]
