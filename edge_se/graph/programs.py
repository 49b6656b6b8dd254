"""Exported programs of torch (`torch.export.save`, .pt2) as ONNX graphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import ModelError, UnavailableError
from edge_se.core.files import sha256_of
from edge_se.graph.onnx_model import OnnxModel

SUFFIX = ".pt2"


@dataclass(frozen=True, kw_only=True)
class Program:
    """`reference` computes what the program does, (N, 3, height, width) -> (N, classes), for any N."""

    model: OnnxModel
    sha256: str
    params: int
    reference: Callable[[NDArray[np.float32]], NDArray[np.float32]]


def read_program(path: Path) -> Program:
    """The program in a file. Its parameters are counted here, since the graph has batch norms folded.

    Raises ModelError when it is no program, or torch cannot write it as ONNX. torch unpickles parts of such files, so
    they must come from someone who is trusted.
    """
    if not path.is_file():
        raise ModelError("cannot be read (no such file)", where=path, fix="give a file that torch.export.save wrote")
    try:
        import torch

        from edge_se.graph.export import program_to_onnx, quiet_torch
    except ModuleNotFoundError as error:
        raise UnavailableError("exported programs need torch", where=path,
                               fix="pip install 'edge-se[torch]'") from error
    try:
        with quiet_torch():
            program = torch.export.load(path)
    except Exception as error:  # torch raises many kinds for a broken file
        raise ModelError(f"is no exported program that torch {torch.__version__} reads ({_first_line(error)})",
                         where=path, fix="write it anew: torch.export.save(torch.export.export(net.eval(), ...), FILE)"
                         ) from error
    try:
        proto = program_to_onnx(program)
    except Exception as error:  # as does its exporter
        raise ModelError(f"torch cannot write it as ONNX ({_first_line(error)})", where=path,
                         fix="export the net to ONNX yourself, and give that file") from error
    model, module = OnnxModel.of(proto), program.module()
    batch = model.input_shape[0]

    def reference(images: NDArray[np.float32]) -> NDArray[np.float32]:
        """A program of a fixed batch refuses others: the last batch is filled up with its first images."""
        count = batch or len(images)
        answers = []
        with torch.no_grad():
            for start in range(0, len(images), count):
                part = torch.from_numpy(np.resize(images[start:start + count], (count, *images.shape[1:])))
                answers.append(np.asarray(module(part).numpy(), dtype=np.float32))
        return np.concatenate(answers)[:len(images)]

    params = sum(parameter.numel() for parameter in program.parameters() if parameter.requires_grad)
    return Program(model=model, sha256=sha256_of(path), params=params, reference=reference)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
