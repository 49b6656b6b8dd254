"""Where a net trains and in which floating-point type."""

from __future__ import annotations

import torch

from edge_se.core import environment
from edge_se.core.errors import UnavailableError
from edge_se.core.recipes import Recipe

AMP_NAMES = {torch.bfloat16: "bf16", torch.float16: "fp16", None: "off"}


def pick_device(name: str, local_rank: int = 0) -> torch.device:
    """`auto`, `cpu` or `cuda` to a device; UnavailableError when CUDA was asked for and is not there.

    With several processes on a machine, each takes the GPU of its `local_rank`.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UnavailableError("torch sees no CUDA GPU", where="--device cuda", fix="use --device cpu")
    if name == "cuda" and local_rank:
        if local_rank >= torch.cuda.device_count():
            raise UnavailableError(f"process {local_rank} has no GPU of its own", where="torchrun",
                                   fix=f"start {torch.cuda.device_count()} with --nproc-per-node")
        return torch.device("cuda", local_rank)
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """The GPU's name, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def amp_type(recipe: Recipe, device: torch.device) -> torch.dtype | None:
    """The type to autocast to, as asked for. `auto` is bfloat16 where the hardware multiplies it at full speed."""
    if recipe.amp == "auto":
        fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else environment.has_fast_bf16()
        return torch.bfloat16 if fast else None
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "off": None}[recipe.amp]
