"""TFLM and vela tell of a `.tflite` file what a board would: figures, differences, and what they refuse."""

import numpy as np
import pytest

from edge_se.backends import tflm, vela
from edge_se.core.environment import importable
from edge_se.core.errors import UnavailableError
from edge_se.reporting.compiled import compiled_lines

for_tflm = pytest.mark.skipif(not (importable("tflite_micro") and importable("ai_edge_litert")),
                              reason=f"tflite-micro or ai-edge-litert is not installed: {tflm.INSTALL}")
for_vela = pytest.mark.skipif(not (importable("ethosu.vela") and importable("ai_edge_litert")),
                              reason=f"ethos-u-vela or ai-edge-litert is not installed: {vela.INSTALL}")
IMAGES = np.random.default_rng(0).standard_normal((4, 4, 4, 3)).astype(np.float32)


@pytest.fixture
def one_operator():
    """(name, scale) -> a file with float ends whose one operator between them, in int8, reads steps of `scale`."""
    from edge_se.graph.tflite.flatbuffer import Flatbuffer, Steps

    def make(name="CONV_2D", scale=0.05):
        flat, read, shape = Flatbuffer(dynamic=False), Steps(scales=(scale,)), (1, 4, 4, 3)
        image, ints = flat.computed(shape, "float32", "images"), flat.computed(shape, "int8", "ints", read)
        made = Steps(scales=(1 / 256,), zero_point=-128) if name == "LOGISTIC" else Steps(scales=(0.1,))
        result, logits = flat.computed(shape, "int8", "result", made), flat.computed(shape, "float32", "logits")
        flat.operator("QUANTIZE", 1, [image], ints)
        if name == "CONV_2D":
            scales = (0.02, 0.01, 0.03)
            weights = np.random.default_rng(1).integers(-127, 128, (3, 3, 3, 3)).astype(np.int8)
            bias = flat.constant(np.array([5, -5, 9], np.int32), "bias", Steps(scales=tuple(scale * s for s in scales)))
            flat.operator(name, 3, [ints, flat.constant(weights, "weights", Steps(scales=scales, zero_point=0)), bias],
                          result, table="Conv2DOptions", strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1)
        else:
            flat.operator(name, 2, [ints], result)
        flat.operator("DEQUANTIZE", 2, [result], logits)
        return flat.finished(name="one", image=image, logits=logits, beside={})
    return make


def behind(content):
    """The same file with the content of its largest buffer behind the flatbuffer, as ai-edge-quantizer writes it."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    largest = max((buffer for buffer in model.buffers if buffer.data is not None), key=lambda one: len(one.data))
    moved, largest.data, largest.size = bytes(largest.data), None, len(largest.data)

    def packed(offset):
        largest.offset, builder = offset, flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
    return packed(len(packed(2))) + moved


@for_tflm
def test_tflm_answers_as_the_reference_kernels_and_tells_its_arena(one_operator):
    told = tflm.tflm_check(one_operator(), IMAGES)
    assert told.pop("version") and told.pop("arena_bytes") > 2 * IMAGES[0].nbytes
    assert told == {"images": 4, "bit_equal": 4, "largest_difference": 0.0}


@for_tflm
@pytest.mark.parametrize("count", [1, 3])
def test_time_bounds_the_number_of_images(one_operator, monkeypatch, count):
    monkeypatch.setattr(tflm, "IMAGES_S", 0.0 if count == 1 else 60.0)
    told = tflm.compared(one_operator(), IMAGES[:3])
    assert (told["images"], told["bit_equal"]) == (count, count)


@for_tflm
def test_a_difference_is_told(one_operator):
    """The sigmoid of 0 is 0.5, and 0 in TFLM where its steps are tiny (findings/tflm_sigmoid_of_tiny_steps.sh)."""
    told = tflm.tflm_check(one_operator("LOGISTIC", scale=4e-12), np.zeros_like(IMAGES))
    assert (told["bit_equal"], told["largest_difference"]) == (0, 0.5)
    assert "0 of 4 images bit-equal" in compiled_lines({"tflm": told})[0]
    assert "largest difference of a logit is 0.5" in compiled_lines({"tflm": told})[0]


@for_tflm
def test_weights_behind_the_flatbuffer_are_refused(one_operator):
    moved = behind(one_operator())
    assert tflm.buffers_behind(one_operator()) == 0 and tflm.buffers_behind(moved) == 1
    refusal = tflm.tflm_check(moved, IMAGES)["refusal"]
    assert refusal.startswith("1 of its constants lie behind the flatbuffer")


@for_tflm
@pytest.mark.parametrize(("name", "says"), [
    ("GELU", "'GELU'"), ("RELU_N1_TO_1", "'RELU_N1_TO_1'"), ("COS", "INT8 != FLOAT32")])
def test_what_it_does_not_run_is_in_its_words(one_operator, name, says):
    refusal = tflm.tflm_check(one_operator(name), IMAGES)["refusal"]
    assert says in refusal
    assert compiled_lines({"tflm": {"refusal": refusal}}) == [f"TFLM does not run it: {refusal}"]


@for_tflm
def test_one_that_takes_too_long_is_ended(one_operator, monkeypatch):
    monkeypatch.setattr(tflm, "TIMEOUT_S", 0.01)
    assert tflm.tflm_check(one_operator(), IMAGES)["refusal"].startswith("took more than")


@for_vela
def test_vela_tells_what_falls_back_and_what_it_takes(one_operator):
    told = vela.vela_check(one_operator())
    assert [(one["operator"], one["tensor"], one["type"]) for one in told["on_cpu"]] == [
        ("QUANTIZE", "ints", "int8"), ("DEQUANTIZE", "logits", "float32")]
    assert told["operators"] == 3 and told["sram_bytes"] > 0 and told["flash_bytes"] > 81
    assert told["estimate"]["inferences_per_s"] > 1000
    line, = compiled_lines({"vela": told})
    assert "2 of 3 operators fall back to the processor (1 QUANTIZE, 1 DEQUANTIZE)" in line
    assert line.endswith("an estimate of the NPU's part alone")


@for_vela
@pytest.mark.parametrize("name", ["CONV_2D", "LOGISTIC", "GELU"])
def test_a_file_of_which_nothing_runs_on_the_npu_has_no_estimate(name):
    from edge_se.graph.tflite.flatbuffer import Flatbuffer

    flat, shape = Flatbuffer(dynamic=False), (1, 4, 4, 3)
    image, logits = (flat.computed(shape, "float32", called) for called in ("images", "logits"))
    if name == "CONV_2D":
        weights, bias = (flat.constant(np.ones(own, np.float32), "constant") for own in ((3, 1, 1, 3), (3,)))
        flat.operator(name, 1, [image, weights, bias], logits, table="Conv2DOptions", strideH=1, strideW=1,
                      dilationHFactor=1, dilationWFactor=1)
    else:
        flat.operator(name, 1, [image], logits)
    told = vela.vela_check(flat.finished(name="floats", image=image, logits=logits, beside={}))
    assert (told["operators"], [one["operator"] for one in told["on_cpu"]]) == (1, [name])
    assert told["estimate"] == {"inferences_per_s": None}
    assert compiled_lines({"vela": told})[0].endswith("; nothing runs on the NPU")


@for_vela
def test_a_file_that_vela_does_not_take():
    refusal = vela.vela_check(b"no flatbuffer" * 10)["refusal"]
    assert refusal.startswith("exit ")
    assert compiled_lines({"vela": {"refusal": refusal}}) == [f"vela does not compile it: {refusal}"]


@pytest.mark.parametrize(("module", "ask", "package"), [
    ("tflite_micro", lambda: tflm.tflm_check(b"", IMAGES), "tflite-micro"),
    ("ethosu.vela", lambda: vela.vela_check(b""), "ethos-u-vela"),
    ("ai_edge_litert", lambda: vela.vela_check(b""), "ai-edge-litert")])
def test_a_missing_package_is_one_line_with_its_extra(monkeypatch, module, ask, package):
    for place in (tflm, vela):
        monkeypatch.setattr(place, "importable", lambda name: name != module)
    with pytest.raises(UnavailableError, match=rf"{package} is not installed; .*edge-se\[microcontrollers\]") as error:
        ask()
    assert "\n" not in str(error.value)
