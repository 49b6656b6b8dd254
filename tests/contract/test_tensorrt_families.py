"""NVIDIA's real parser and builder on each family of nets at tiny widths: FP32 and INT8."""

import pytest

from edge_se.backends.tensorrt import compile_check
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed: pip install 'edge-se[rtx]'")
FAMILIES = {
    "pre": ("pre", {}), "post": ("post", {}), "identity": ("identity", {}), "double_fc": ("double_fc", {}),
    "pair2x1": ("pair2x1", {}), "pair1x1": ("pair1x1", {}), "folded": ("folded", {}),
    "bottleneck": ("se", {"block": "bottleneck", "stem": "imagenet7"}), "preact": ("folded", {"preact": True}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_fp32_and_int8_parse_and_build(family, family_onnx, random_images):
    attention, changes = FAMILIES[family]
    model, rules = family_onnx(attention, **changes), TARGETS["tensorrt"]
    assert compile_check(model, batch=8) is None
    ranges = collect(model, random_images(8)).ranges("minmax", rules.activations)
    for placement in ("se-float", "all"):
        assert compile_check(quantize(model, ranges, rules, place(model.proto, rules, placement))) is None
