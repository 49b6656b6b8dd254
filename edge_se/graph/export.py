"""torch -> ONNX by the dynamo exporter, with a dynamic batch, folded batch norm and the model's contract inside."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import onnx
import torch
from torch import nn

from edge_se.graph.explicit_pads import explicit_pads
from edge_se.graph.metadata import ModelMetadata, write_metadata
from edge_se.graph.reductions import spelled_out_reductions
from edge_se.graph.rewrites import lower_opset, prepare
from edge_se.graph.wraps import spelled_out_wraps
from edge_se.nets.competitive import with_folded_views

INPUT, OUTPUT = "images", "logits"


def to_onnx(net: nn.Module, metadata: ModelMetadata, size: int | tuple[int, int]) -> onnx.ModelProto:
    """The FP32 graph of `net` in evaluation mode: `images` (batch, 3, height, width) -> `logits` (batch, classes).

    `size` is (height, width), or one number for both.

    Competitive SE's re-image convolutions become the one affine kernel that they amount to.
    """
    net = with_folded_views(net).to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    height, width = (size, size) if isinstance(size, int) else size
    batch = torch.export.Dim("batch")
    with quiet_torch():
        program = torch.onnx.export(net, (torch.zeros(2, 3, height, width),), dynamo=True, input_names=[INPUT],
                                    output_names=[OUTPUT], dynamic_shapes=({0: batch},), opset_version=18,
                                    external_data=False, verbose=False)
    assert program is not None  # only the deprecated exporter returns None
    model = program.model_proto
    spelled_out_wraps(model)  # opset 18 has none, and no older one
    model = lower_opset(prepare(model))
    explicit_pads(model)
    spelled_out_reductions(model)
    model = prepare(model)
    model.producer_name, model.producer_version, model.graph.name = "edge-se", "", metadata.model
    write_metadata(model, metadata)
    return model


def program_to_onnx(program: torch.export.ExportedProgram) -> onnx.ModelProto:
    """The graph of an exported program, at the opset of `to_onnx`, with the program's own sizes and no metadata."""
    with quiet_torch():
        written = torch.onnx.export(program, dynamo=True, opset_version=18, external_data=False, verbose=False)
    assert written is not None
    return lower_opset(prepare(written.model_proto))


@contextmanager
def quiet_torch() -> Iterator[None]:
    """Silences the exporters, which print to stdout and tell of their internals: stdout belongs to the result."""
    levels = {logger: logger.level for logger in map(logging.getLogger, ("torch.onnx", "torch.export"))}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
