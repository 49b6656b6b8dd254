"""Weights of a net: as edge-se ships them (fp16 safetensors), and state dicts as users bring them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edge_se.core.errors import ModelError, TrainingError
from edge_se.core.files import write_bytes

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")  # keys of timm's and torchvision's checkpoints
COUNTER = "n_averaged"  # of torch's AveragedModel


def save_weights(path: Path, state: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Floating-point tensors as fp16 safetensors; integers (BN batch counts) are left out: inference needs none."""
    from safetensors.torch import save

    half = {name: tensor.detach().cpu().half().contiguous()
            for name, tensor in state.items() if tensor.is_floating_point()}
    for name, tensor in half.items():
        if not tensor.isfinite().all():
            raise TrainingError(f"tensor '{name}' has values that fp16 cannot hold", where=path,
                                fix="train with more weight decay or a lower learning rate")
    # One entry: of several safetensors writes the order by chance, and equal weights should be equal files.
    write_bytes(path, save(half, metadata={"edge_se": json.dumps(metadata, sort_keys=True)}))


def load_weights(net: nn.Module, path: Path) -> None:
    """Loads safetensors of any float type into `net`; ModelError names the first tensor that does not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
    except FileNotFoundError as missing:
        raise ModelError("no such weights", where=path, fix="train them, or give a file with --weights") from missing
    except (OSError, SafetensorError) as broken:
        raise ModelError(f"not readable as safetensors ({broken})", where=path,
                         fix="copy or download the file again; it may be cut off") from broken
    state = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    own = {name: tensor for name, tensor in net.state_dict().items() if tensor.is_floating_point()}
    for name in sorted(own.keys() ^ state.keys()):
        kind = "lacks" if name in own else "has an unknown"
        raise ModelError(f"{kind} tensor '{name}'", where=path, fix="use the weights of this very model")
    for name, tensor in own.items():
        if tensor.shape != state[name].shape:
            raise ModelError(f"tensor '{name}' has shape {tuple(state[name].shape)}, not {tuple(tensor.shape)}",
                             where=path, fix="use the weights of this very model")
    net.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=False)


def state_dict_of(path: Path) -> dict[str, Any]:
    """A state dict in safetensors or torch's own format, read without running code from it.

    Of a checkpoint of a training loop it is the averaged weights, else the last ones; names are those of the net
    itself where it was trained in parallel.
    """
    from safetensors.torch import load_file

    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu",
                                                                                weights_only=True)
    except FileNotFoundError as missing:
        raise ModelError("no such weights", where=path, fix="give a file with --weights") from missing
    except Exception as error:  # torch and safetensors raise many kinds of errors for a broken file
        raise ModelError(f"not readable as a state dict ({type(error).__name__})", where=path,
                         fix="save it with safetensors, or torch.save(net.state_dict(), ...)") from error
    for key in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
            break
    if not isinstance(state, dict) or not state or not all(hasattr(value, "ndim") for value in state.values()):
        raise ModelError("holds no state dict", where=path, fix="save net.state_dict()")
    return {name.removeprefix("module."): value for name, value in state.items() if name != COUNTER}
