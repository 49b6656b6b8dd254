"""Efforts name a method and a placement; the method `auto` is the one whose logits are nearest to FP32's."""

import pytest

from edge_se.core.errors import CalibrationError
from edge_se.core.progress import SILENT
from edge_se.evaluation.accuracy import logits_of
from edge_se.quantization.effort import AUTO, EFFORTS, best_method, effort_of, require_method
from edge_se.quantization.methods import METHODS
from edge_se.quantization.placement import PLACEMENTS, place
from edge_se.quantization.ranges import collect
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS, targets_for


@pytest.mark.parametrize("name", EFFORTS)
def test_each_effort_names_what_exists(name):
    effort = effort_of(name)
    assert effort.method in (*METHODS, AUTO) and effort.placement in (*PLACEMENTS, AUTO, None)


def test_unknown_names():
    with pytest.raises(CalibrationError, match=r"--effort: unknown effort 'extensiv'; did you mean 'extensive'\?"):
        effort_of("extensiv")
    with pytest.raises(CalibrationError, match=r"--method: unknown method 'mes'; did you mean 'mse'\?"):
        require_method("mes")
    assert require_method("auto") == "auto"


@pytest.mark.parametrize("name", ["cpu", "tensorrt"])
def test_the_best_method_has_the_highest_sqnr(tiny_onnx, random_images, name):
    target, images = TARGETS[name], random_images(40)
    statistics, plan = collect(tiny_onnx, images), place(tiny_onnx.proto, target)
    reference = logits_of(tiny_onnx, images)

    def score(method):
        quantized = quantize(tiny_onnx, statistics.ranges(method, target.activations), target, plan)
        return sqnr_db(reference, logits_of(quantized, images))

    chosen = best_method(tiny_onnx, statistics, target, plan, images, SILENT)
    assert score(chosen) == max(score(method) for method in METHODS)


def names(targets):
    return [target.name for target in targets]


def test_targets_by_default_and_by_processor():
    assert names(targets_for(None, ("avx2", "avx512_vnni"))) == ["cpu", "tensorrt"]
    assert names(targets_for(None, ("avx2", "avx512f"))) == ["cpu", "tensorrt", "cpu-avx2"]
    assert names(targets_for(None, ("asimddp",))) == ["cpu", "tensorrt"]
    assert names(targets_for(["all"], ())) == list(TARGETS)
    assert names(targets_for(["arm", "cpu", "arm"], ())) == ["arm", "cpu"]
