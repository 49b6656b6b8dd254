"""NVIDIA's real ONNX parser and ahead-of-time builder, without a GPU: what `tensorrt` files must pass.

ORT's own recipe is rejected by the same check, so the check can fail.
"""

import numpy as np
import onnx
import onnxruntime
import pytest

from edge_se.backends.tensorrt import compile_check, compiled
from edge_se.core.assets import asset
from edge_se.data import calibration
from edge_se.device.agent import AgentError, load_tensorrt
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.source import load_source
from edge_se.measure.builder_log import layers_in
from edge_se.measure.layers import engine_of
from edge_se.measure.promise import promise_of
from edge_se.nets.zoo import MODELS
from edge_se.quantization.placement import PLACEMENTS, place
from edge_se.quantization.ranges import collect
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed: pip install 'edge-se[rtx]'")
BUNDLED = sorted(name for name in MODELS if asset("models", name, "weights.safetensors").is_file())


@pytest.fixture(scope="module")
def tensorrt():
    return load_tensorrt("tensorrt_rtx")


@pytest.fixture(scope="module", params=BUNDLED)
def source(request):
    images = calibration.load("synthetic-256", None).first(32)
    return load_source(request.param, None).model, images


@pytest.fixture(scope="module")
def statistics(source):
    return collect(*source)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["tensorrt", "tensorrt-fp16"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_int8_for_tensorrt_parses_and_builds(source, statistics, target, placement) -> None:
    model, rules = source[0], TARGETS[target]
    quantized = quantize(model, statistics.ranges("mse", rules.activations), rules,
                         place(model.proto, rules, placement))
    assert compile_check(quantized) is None


@pytest.fixture(scope="module")
def int8(tiny_onnx, random_images):
    rules = TARGETS["tensorrt-fp16"]
    ranges = collect(tiny_onnx, random_images(16)).ranges("minmax", rules.activations)
    return quantize(tiny_onnx, ranges, rules, place(tiny_onnx.proto, rules, "se-float"))


@pytest.mark.parametrize(("capability", "kept"), [("SM86", True), ("SM75", False)])
def test_the_engine_keeps_what_the_file_asks_for_on_ampere_and_breaks_it_on_turing(int8, capability, kept) -> None:
    """For compute capability 7.5 the builder computes INT8 convolutions in the type of the floats, without a word."""
    refusal, promise = compiled(int8, capability=capability)
    assert refusal is None
    assert promise.share == 1.0 if kept else promise.share < 0.001  # the last layer is no convolution
    assert {(item.asked, item.runs) for item in promise.broken} == (set() if kept else {("int8", "fp16")})


def test_layers_of_a_float_engine_break_the_promise_of_the_int8_file(int8, tiny_onnx, tensorrt) -> None:
    tensorrt.build(tiny_onnx.content, precision="fp32", batch=1, capability="SM86")
    layers = layers_in("\n".join(tensorrt.layers))
    assert len(layers) > 8 and all(layer["Inputs"] or layer["LayerType"] == "kgen" for layer in layers)
    promise = promise_of(int8.proto, engine_of(layers, None))
    assert promise.share == 0.0 and {item.runs for item in promise.broken if "Conv" in item.node} == {"fp32"}


@pytest.mark.parametrize("batch", [1, 32])
def test_fp32_and_fp16_parse_and_build(source, batch) -> None:
    from edge_se.graph.fp16 import to_fp16

    assert compile_check(source[0], batch) is None
    assert compile_check(to_fp16(source[0]), batch) is None


def test_what_this_version_is(tensorrt) -> None:
    assert tensorrt.name == "tensorrt_rtx" and tensorrt.strongly_typed and tensorrt.creation_flags() != 0
    assert tensorrt.why_not("int8", (8, 6)) is None


def test_the_cpu_file_is_rejected(source, statistics) -> None:
    model, target = source[0], TARGETS["cpu"]
    quantized = quantize(model, statistics.ranges("minmax", target.activations), target, place(model.proto, target))
    told = compile_check(quantized)  # of whichever comes first in the graph
    assert "bias_DequantizeLinear" in told or "Non-zero zero point is not supported" in told


def test_ort_default_recipe_is_rejected(source, tmp_path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    model, images = source

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = images.batches(16)

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {model.input_name: batch}

    source_path, target_path = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    source_path.write_bytes(model.content)
    quantize_static(source_path, target_path, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
                    extra_options={"ActivationSymmetric": True})
    session = onnxruntime.InferenceSession(target_path, providers=["CPUExecutionProvider"])
    assert np.isfinite(session.run(None, {model.input_name: next(images.batches(4))})[0]).all()  # a sound file, and yet
    assert compile_check(OnnxModel.read(target_path, precision="int8", target="tensorrt")) is not None


EMPTY = onnx.ModelProto(ir_version=8).SerializeToString()


@pytest.mark.parametrize("content", [b"", EMPTY], ids=["nothing", "no graph"])
def test_what_holds_no_graph_is_refused_in_words(tensorrt, content) -> None:
    with pytest.raises(AgentError, match="no input in the graph"):
        tensorrt.build(content, precision="fp32", batch=1)
