"""Which runtime computes the accuracy of a file on this machine, and what is told of it beside the figure."""

from __future__ import annotations

from typing import Any

from edge_se.backends.base import Backend
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.backends.openvino import OpenVino
from edge_se.backends.tflite import LiteRt
from edge_se.core.artifacts import Artifact
from edge_se.core.measured_by import measured_by as told_by
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.targets.table import TARGETS, is_simulated

JUDGES: dict[str, Backend] = {"onnxruntime": OnnxRuntime(), "openvino": OpenVino("f32"),
                              "litert": LiteRt()}


File = OnnxModel | Artifact  # whatever has a precision and a target


def judge_of(model: File) -> Backend:
    """The runtime that the file's target names, or onnxruntime where that is not installed.

    OpenVINO computes floats in f32: its own choice depends on the processor, and a figure should not.
    """
    judge = JUDGES[_wanted(model)]
    return JUDGES["onnxruntime"] if judge.missing() else judge


def measured_by(model: File) -> dict[str, Any]:
    """`measured_by` of an accuracy from `logits_of`.

    Floats are computed in f32, those of FP16 files, too: onnxruntime's CPU provider casts them up, and takes out the
    casts between two operators (findings/onnxruntime_fp16_on_cpu.sh).
    """
    judge, wanted = judge_of(model), _wanted(model)
    return told_by(judge.name, package=judge.module, floats="f32", simulation=is_simulated(model.target),
                   instead_of=None if judge.name == wanted else wanted)


def _wanted(model: File) -> str:
    return TARGETS[model.target].judged_in if model.target in TARGETS else "onnxruntime"
