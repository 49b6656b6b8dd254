"""Checkpoints: everything that a run needs to go on as if nothing had stopped it."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from edge_se.core.errors import TrainingError
from edge_se.core.files import write_bytes

FORMAT = "edge-se/checkpoint/2"


@dataclass(kw_only=True)
class Checkpoint:
    """Everything that the next step depends on. Draws are seeded by (seed, epoch, step), so no RNG state is kept."""

    model_name: str
    recipe_sha256: str
    data_sha256: str
    epoch: int
    step: int  # within the epoch
    seconds: float
    loss_sum: float
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    best_top1: float = -1.0
    best_epoch: int = -1
    best_model: dict[str, torch.Tensor] | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    average: dict[str, Any] | None = None  # the moving average of the weights
    scaler: dict[str, Any] | None = None  # of FP16 gradients
    format: str = FORMAT


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a temporary file and renames it, so a kill leaves the previous checkpoint. It holds its own hash."""
    content = {key: getattr(checkpoint, key) for key in checkpoint.__dataclass_fields__}
    content["sha256"] = _sha256(content)
    buffer = io.BytesIO()
    torch.save(content, buffer)  # on a full disk torch.save to a file raises RuntimeError
    write_bytes(path, buffer.getvalue())


def load_checkpoint(path: Path, *, model_name: str, recipe_sha256: str, data_sha256: str) -> Checkpoint:
    """The checkpoint at `path`; TrainingError when it is broken, altered or belongs to another run."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        written = content.pop("sha256", None)
        checkpoint = Checkpoint(**content)
        unaltered = written == _sha256(content)
    except Exception as error:  # torch raises whatever a broken pickle makes its unpickler stumble over
        raise TrainingError(f"not a checkpoint of edge-se ({type(error).__name__})", where=path,
                            fix="start again without --resume, or in another --out") from error
    for name, here in (("model_name", model_name), ("recipe_sha256", recipe_sha256), ("data_sha256", data_sha256),
                       ("format", FORMAT)):
        if getattr(checkpoint, name) != here:
            raise TrainingError(f"belongs to another run: its {name} is {getattr(checkpoint, name)!r}, not {here!r}",
                                where=path, fix="resume with the same model, recipe and data, or use another --out")
    if not unaltered:  # torch.load does not look at the archive's checksums
        raise TrainingError("its hash differs: it was altered after it was written", where=path,
                            fix="start again without --resume, or in another --out; check the disk")
    return checkpoint


def _sha256(content: Any) -> str:
    """Hash of every tensor's type, shape and bytes and of every other value, whatever the order of keys."""
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            tensor = value.detach().cpu().contiguous()
            digest.update(f"tensor {tensor.dtype} {tuple(tensor.shape)}:".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
        elif isinstance(value, dict):
            digest.update(f"dict {len(value)}:".encode())
            for key in sorted(value, key=repr):
                digest.update(f"{key!r}=".encode())
                add(value[key])
        elif isinstance(value, (list, tuple)):
            digest.update(f"list {len(value)}:".encode())
            for item in value:
                add(item)
        else:
            digest.update(f"{value!r};".encode())

    add(content)
    return digest.hexdigest()
