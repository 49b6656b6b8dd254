"""Each family of nets in INT8 on every target: excitations in float, nearly FP32's numbers."""

import numpy as np
import onnx
import pytest

from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS
from edge_se.quantization.units import units_of

FAMILIES = {
    "pre": ("pre", {}), "post": ("post", {}), "identity": ("identity", {}), "double_fc": ("double_fc", {}),
    "pair2x1": ("pair2x1", {}), "pair1x1": ("pair1x1", {}), "folded": ("folded", {}),
    "imagenet7": ("se", {"stem": "imagenet7"}), "bottleneck": ("se", {"block": "bottleneck"}),
    "preact": ("pair2x1", {"preact": True}),
}


@pytest.fixture(scope="module", params=FAMILIES)
def source(request, family_onnx):
    attention, changes = FAMILIES[request.param]
    return family_onnx(attention, **changes)


@pytest.fixture(scope="module")
def statistics(source, random_images):
    return collect(source, random_images(16))


@pytest.mark.parametrize("placement", ["se-float", "all"])
@pytest.mark.parametrize("target", ["cpu", "tensorrt", "openvino"])
def test_int8_is_near_fp32_and_excitations_are_float(source, statistics, run_onnx, random_images, target, placement):
    rules = TARGETS[target]
    model = quantize(source, statistics.ranges("minmax", rules.activations), rules,
                     place(source.proto, rules, placement))
    images = next(random_images(16).batches(8))  # of those that set the ranges: nothing is clipped
    expected, given = run_onnx(source, images)[0], run_onnx(model, images)[0]
    # An untrained net spreads random images little, so INT8 shows; a wrong scale or a lost branch makes it 1 and more.
    assert np.sqrt(np.mean((given - expected) ** 2) / np.mean(expected**2)) < 0.2
    assert not np.array_equal(given, expected)
    of_excitations = {tensor.data_type == onnx.TensorProto.INT8 for tensor in model.proto.graph.initializer
                if ".se." in tensor.name and len(tensor.dims) == 4}
    assert of_excitations == {placement == "all"}
    integers = any(tensor.data_type == onnx.TensorProto.INT32 and tensor.name.endswith("_quantized")
                   for tensor in model.proto.graph.initializer)
    assert integers == (target == "cpu")


def test_an_excitation_is_one_unit_named_after_its_module(source):
    units = units_of(source.proto, TARGETS["tensorrt"])
    assert [unit.name for unit in units if unit.kind == "se-gate"] == [f"layer{stage}.0.se" for stage in (1, 2, 3, 4)]
    assert not any(".se." in unit.name for unit in units if unit.kind == "layer")
