"""PyTorch on the CPU: the net that an FP32 file was exported from, with its own weights, eager or compiled.

Torch reads no ONNX. The file's metadata names the net and the SHA-256 of its weights; the zoo's weights with that very
hash are loaded, so what is timed is what `export` compared with the file (`parity` of the manifest).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Backend, Device, Session
from edge_se.core.cards import weights_of
from edge_se.core.environment import cpu_count, importable
from edge_se.core.errors import EdgeSeError, ModelError, UnavailableError
from edge_se.core.files import sha256_of
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import Latencies, TimingPlan, measure
from edge_se.nets.spec import ModelSpec
from edge_se.nets.zoo import MODELS, build

INSTALL = "pip install 'edge-se[torch]'"
COMPILERS = ("g++", "clang++", "c++")  # torch.compile writes C++ for the CPU; $CXX names another


def installed() -> bool:
    """Whether torch can be imported; nothing is imported to find out."""
    return importable("torch")


class Torch(Backend):
    """Eager, or through `torch.compile` with its defaults."""

    def __init__(self, name: str, *, compiled: bool) -> None:
        self.name, self._compiled = name, compiled
        self.module = "torch._dynamo" if compiled else "torch"

    def why_not(self, model: OnnxModel, device: Device) -> str | None:
        """It runs FP32 files of the zoo's nets on the CPU; what is quick to ask comes first."""
        if device.kind != "cpu":
            return f"this backend runs on the CPU, not on '{device.kind}'"
        if model.precision != "fp32":
            return ("runs FP32 only: edge-se's INT8 is Q/DQ in ONNX" if model.precision == "int8"
                    else "runs FP32 only: FP16 in torch is for GPUs")
        if reason := self.missing():
            return reason
        try:
            _source_of(model)
        except EdgeSeError as error:
            return str(error)
        return None

    def missing(self) -> str | None:
        """The package that is missing, or the compiler that `torch.compile` calls."""
        if not installed():
            return f"torch is not installed: {INSTALL}"
        if self._compiled and not any(map(shutil.which, (*COMPILERS, os.environ.get("CXX", COMPILERS[0])))):
            return "torch.compile needs a C++ compiler: install g++, or name one in $CXX"
        return None

    def read_part(self, model: OnnxModel) -> OnnxModel:
        """The metadata, which names the net: torch reads no graph."""
        return metadata_only(model)

    @contextmanager
    def open(self, model: OnnxModel, device: Device) -> Iterator[Session]:
        """Builds the net and loads its weights; a compiled one is compiled at its first run of each shape."""
        if not installed():
            raise UnavailableError("torch is not installed", where=f"--backend {self.name}", fix=INSTALL)
        spec, weights = _source_of(model)
        net = build(spec)
        from safetensors.torch import load_file

        # Their hash is right, so they fit; the counters of batch norm are left out of the file.
        net.load_state_dict({name: tensor.float() for name, tensor in load_file(weights).items()}, strict=False)
        threads = device.threads or cpu_count()
        yield _Session(_compiled(net.eval(), threads) if self._compiled else net.eval(), threads)


def _source_of(model: OnnxModel) -> tuple[ModelSpec, Path]:
    """The net and the weights that a file was made from; ModelError where they are not at hand."""
    metadata = model.metadata
    if metadata is None:
        raise ModelError("does not say which net it was made from", where=model.file_name,
                         fix="torch runs what `edge-se export --model NAME` wrote")
    if metadata.model not in MODELS:
        raise ModelError(f"was made from '{metadata.model}', which is not in the zoo", where=model.file_name,
                         fix="torch runs the nets of `edge-se models list`")
    if metadata.preprocessing.dtype == "uint8":
        raise ModelError("normalises its pixels in the graph, which its net in torch does not", where=model.file_name,
                         fix="export without --fuse-preprocessing to compare with torch")
    path = weights_of(metadata.model)
    if not path.is_file():
        raise ModelError("no such weights", where=path, fix="install edge-se with its models")
    if sha256_of(path) != metadata.source_sha256:
        raise ModelError(f"was not made from the bundled weights of {metadata.model}", where=model.file_name,
                         fix="export again without --weights to compare with torch")
    return MODELS[metadata.model], path


def metadata_only(model: OnnxModel) -> OnnxModel:
    """`model` without its graph: torch reads only the metadata, and its memory is measured with that alone."""
    proto = model.copy()
    del proto.graph.node[:], proto.graph.initializer[:]
    return OnnxModel(content=proto.SerializeToString(), precision=model.precision, target=model.target)


def _compiled(net: Any, threads: int) -> Callable[[Any], Any]:
    """One graph per batch size; the number of threads is part of the code that is written."""
    import torch
    from torch._dynamo.exc import TorchDynamoException

    compiled: Callable[[Any], Any] = torch.compile(net, dynamic=False, options={"cpp.threads": threads})

    def call(batch: Any) -> Any:
        try:
            return compiled(batch)
        except TorchDynamoException as error:
            raise UnavailableError(f"torch.compile failed ({str(error).strip().splitlines()[0]})",
                                   where="--backend torch-compiled",
                                   fix="install a C++ compiler and Python's headers, or use --backend torch") from error

    return call


class _Session(Session):
    """Torch's threads are a setting of the process: set for each call, since others are timed in between."""

    def __init__(self, net: Callable[[Any], Any], threads: int) -> None:
        self._net, self._threads = net, threads

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised images (N, 3, H, W) -> logits (N, classes)."""
        import torch

        with _threads(self._threads), torch.no_grad():
            return np.array(self._net(torch.tensor(images)).numpy(), dtype=np.float32)

    def time(self, images: NDArray[np.float32], plan: TimingPlan) -> Latencies:
        """Wall time of one call of the net; the images are a tensor already."""
        import torch

        batch, net = torch.tensor(images), self._net
        with _threads(self._threads), torch.no_grad():
            return measure(lambda: net(batch), plan, batch=len(images))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


BACKENDS = (Torch("torch", compiled=False), Torch("torch-compiled", compiled=True))
