"""Layer information and profiles: recorded ones read whole, joined by name, and refused where they do not hold."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_se.core.errors import EdgeSeError
from edge_se.measure.explain import explain
from edge_se.measure.layers import datatype_of, engine_of, nodes_in, read_engine

RECORDED = Path(__file__).parents[1] / "recorded" / "layers"
NAMES = ("a100-resnet18-int8", "a100-resnet18-fp16", "names-only-qat-detector")
PROFILE = [{"count": 2}, {"name": "a", "timeMs": 2.0, "averageMs": 1.0, "medianMs": 1.0, "percentage": 100}]


def recorded(name):
    layers = RECORDED / f"{name}.layers.json"
    return read_engine(layers if layers.exists() else None, RECORDED / f"{name}.profile.json")


def timed(layers):
    """A profile that has 1 ms for each layer of made-up layer information."""
    return [{"name": layer if isinstance(layer, str) else layer["Name"], "averageMs": 1.0} for layer in layers]


def test_every_recording_has_a_source():
    readme = (RECORDED / "README.md").read_text()
    files = {path.name for path in RECORDED.glob("*.json")}
    assert files and files == set(re.findall(r"\S+\.json(?=[, ])", readme))
    assert all("https://github.com/" in line for line in readme.splitlines() if ".json" in line)


@pytest.mark.parametrize("name", [*NAMES, "no-median-mobilenet-v2"])
def test_a_recorded_profile_adds_up(name):
    entries = json.loads((RECORDED / f"{name}.profile.json").read_text())
    engine = recorded(name)
    assert engine.runs == entries[0]["count"]
    assert engine.milliseconds == pytest.approx(sum(entry["timeMs"] for entry in entries[1:]) / engine.runs, rel=1e-4)
    assert sorted(layer.name for layer in engine.layers) == sorted(entry["name"] for entry in entries[1:])


def test_a_recorded_layer_keeps_types_formats_and_nodes():
    conv = recorded("a100-resnet18-int8").layers[3]
    assert (conv.type, conv.weights, conv.milliseconds) == ("CaskConvolution", "int8", 0.034816)
    assert [tensor.datatype for tensor in (*conv.inputs, *conv.outputs)] == ["int8"] * 3
    assert conv.inputs[0].format == "Thirty-two wide channel vectorized row major Int8 format"
    assert conv.inputs[0].shape == (32, 64, 56, 56) and conv.inputs[0].pixels == 56 * 56
    assert conv.nodes == ("layer1.0.conv2.weight", "QuantizeLinear_32", "Conv_34", "Add_42", "Relu_43")
    assert conv.tactic.startswith("sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32")


def test_layers_of_one_file_alone_are_told():
    engine = recorded("a100-resnet18-int8")
    assert engine.detailed and len(engine.unlisted) == 17 and not engine.untimed
    names = recorded("names-only-qat-detector")
    assert not names.detailed and not names.unlisted and not names.untimed
    less = engine_of(["a", "b"], PROFILE)
    assert less.untimed == ("b",) and [layer.milliseconds for layer in less.layers] == [1.0, None]


def test_metadata_names_the_onnx_nodes():
    content = (RECORDED / "container-24.06-resnet18.layers.json").read_text()
    layers = json.loads(content)["Layers"]
    reformat, second, conv = engine_of(content, timed(layers)).layers
    assert reformat.is_copy and reformat.origin == "REFORMAT" and reformat.nodes == ()
    assert second.nodes == ("resnetv15_stage1_conv1_fwd", "resnetv15_stage1_batchnorm1_fwd", "resnetv15_stage1__plus0",
                            "resnetv15_stage1_activation0")
    assert conv.weights == "int8"


# The separators that others have seen: 0x1e and 0x1f (NVIDIA/TensorRT#4020), none (NVIDIA/TensorRT#4397).
@pytest.mark.parametrize("separator", ["\x1e", "\x1f", " ", ""])
def test_every_separator_of_metadata_is_known(separator):
    layer = {"Name": "kernel", "Metadata": separator.join(["[ONNX Layer: /a/Conv]", "[ONNX Layer: x[0]]"])}
    raw = json.dumps({"Layers": [layer]}).replace("\\u001e", "\x1e").replace("\\u001f", "\x1f")
    for document in (raw, {"Layers": [layer]}):
        assert engine_of(document, timed([layer])).layers[0].nodes == ("/a/Conv", "x[0]")


# Fields of docs.nvidia.com/deeplearning/tensorrt/11.3.0/api/migration/tensorrt-10x-to-11x-IEngineInspector.html; the
# layer is made up.
def test_tensorrt_11_has_two_fields_nulls_and_repeated_names():
    layer = {"Name": "same", "LayerType": "gemm", "TacticName": None, "Metadata": None, "Inputs": [
        {"Name": "x", "Datatype": "Int8", "Format": "Row major linear", "Dimensions": [-1, 8, 1, 1]}], "Outputs": [
        {"Name": "y", "DataType": "Half", "Format": None, "Dimensions": [-1, 8, -1, 4]}]}
    document = {"I/O Tensors": [{"Name": "input_0", "IOMode": "Input", "DataType": "Float"}], "Layers": [layer, layer]}
    first, second = engine_of(document, [{"name": "same", "averageMs": 1}, {"name": "same", "averageMs": 2}]).layers
    assert (first.milliseconds, second.milliseconds) == (1.0, 2.0)
    assert (first.inputs[0].datatype, first.outputs[0].datatype, first.tactic) == ("int8", "fp16", None)
    assert (first.inputs[0].pixels, first.outputs[0].pixels) == (1, None)


@pytest.mark.parametrize(("text", "datatype"), [
    ("Row major linear FP32", "fp32"), ("Row major Int8 format", "int8"), ("Half(64,1:8,...)", "fp16"),
    ("Float", "fp32"),
    ("Channel major FP16 format where channel % 8 == 0", "fp16"), ("BFloat16", "bf16"), ("Float8", "fp8"),
    ("Row major linear INT8 format (kLINEAR)", "int8"), ("N/A due to dynamic shapes", None), ("", None)])
def test_datatypes(text, datatype):
    assert datatype_of(text) == datatype


# Names after NVIDIA/TensorRT#2823 (shortened), pytorch/pytorch#66683 and the recordings.
@pytest.mark.parametrize(("name", "nodes"), [
    ("rot.0.conv.weight + QuantizeLinear_454 + Conv_456 || dim.0.conv.weight + QuantizeLinear_429 + Conv_431",
     ("rot.0.conv.weight", "QuantizeLinear_454", "Conv_456", "dim.0.conv.weight", "QuantizeLinear_429", "Conv_431")),
    ("PWN(PWN(relu_1), add_1)", ("relu_1", "add_1")),
    ("Reformatting CopyNode for Input Tensor 0 to Conv_0 + Relu_1", ()),
    ("Gemm_48 + (Unnamed Layer* 360) [Shuffle] + unsqueeze_node_after_fc.bias", ("Gemm_48",))])
def test_nodes_in_names(name, nodes):
    assert nodes_in(name) == nodes


def test_without_a_mean_the_sum_is_divided():
    assert engine_of(None, [{"count": 4}, {"name": "a", "timeMs": 2.0}]).milliseconds == 0.5


BROKEN = {
    "no JSON": ("{", PROFILE, "layers: not readable as JSON"),
    "deep": ("[" * 100_000, PROFILE, "layers: not readable as JSON"),
    "no layers": ({}, PROFILE, "layers: holds no list 'Layers'"),
    "empty": ({"Layers": []}, PROFILE, "layers: holds no list 'Layers'"),
    "a profile for layers": (PROFILE, PROFILE, "layers: is a profile"),
    "layers for a profile": (["a"], {"Layers": ["a"]}, "profile: is layer information"),
    "a number for a layer": ({"Layers": ["a", 3]}, PROFILE, "layers: layer 2: expected an object or a name, found int"),
    "no name": ({"Layers": [{"LayerType": "Conv"}]}, PROFILE, "layers: layer 1: 'Name' is missing"),
    "a number for a name": ({"Layers": [{"Name": 3}]}, PROFILE, "layers: layer 1: 'Name' is 3, not a text"),
    "no tensors": ({"Layers": [{"Name": "a", "Inputs": "x"}]}, PROFILE, "layer 1: 'Inputs' is no list of objects"),
    "shapes": ({"Layers": [{"Name": "a", "Inputs": [{"Dimensions": [1, "b"]}]}]}, PROFILE, "'Dimensions' is list"),
    "other names": ({"Layers": ["b"]}, PROFILE, "profile: has none of the layers of layers"),
    "no list": (["a"], 3, "profile: expected a list of objects"),
    "no entry": (["a"], [{"count": 3}], "profile: holds no layer"),
    "no count": (["a"], [{"count": 0}, *PROFILE[1:]], "profile: 'count' is 0"),
    "no time": (["a"], [{"name": "a"}], "profile: layer 1: 'averageMs' is None|profile: layer 1: 'timeMs' is None"),
    "negative": (["a"], [{"name": "a", "averageMs": -1}], "layer 1: 'averageMs' is -1, not a time"),
    "NaN": (["a"], '[{"name": "a", "averageMs": NaN}]', "layer 1: 'averageMs' is nan"),
    "infinite": (["a"], '[{"name": "a", "averageMs": 1e999}]', "layer 1: 'averageMs' is inf"),
    "true": (["a"], [{"name": "a", "averageMs": True}], "layer 1: 'averageMs' is True"),
}


@pytest.mark.parametrize(("layers", "profile", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_what_does_not_hold_is_refused_by_name(layers, profile, says):
    with pytest.raises(EdgeSeError, match=says):
        engine_of(layers, profile)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(EdgeSeError, match=r"gone\.json: no such file"):
        read_engine(None, tmp_path / "gone.json")
    with pytest.raises(EdgeSeError, match="cannot be read"):
        read_engine(None, tmp_path)


JSON_VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                           lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
                               "Name", "Layers", "Inputs", "Dimensions", "Metadata", "Weights", "Type", "name", "count",
                               "averageMs", "timeMs"]), inner, max_size=4), max_leaves=8)


def places(document, path=()):
    """Where a value of a parsed JSON document can be exchanged."""
    children = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(
        document, list) else ()
    found = [path]
    for key, child in children:
        found += places(child, (*path, key))
    return found


def exchanged(document, path, value):
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = exchanged(document[path[0]], path[1:], value)
    return copy


@given(st.data())
def test_mutated_recordings_raise_nothing_else(data):
    name = data.draw(st.sampled_from(NAMES))
    documents = [json.loads((RECORDED / f"{name}.{kind}.json").read_text()) for kind in ("layers", "profile")]
    for _ in range(data.draw(st.integers(1, 3))):
        which = data.draw(st.sampled_from([0, 1]))
        path = data.draw(st.sampled_from(places(documents[which])))
        documents[which] = exchanged(documents[which], path, data.draw(JSON_VALUES))
    recording = dict(zip(("layers", "profile"), documents))
    try:
        document = explain(recording, latency_ms=1.0, baseline=recorded("a100-resnet18-fp16")).document()
    except EdgeSeError:
        return
    json.dumps(document, allow_nan=False).encode()


@given(st.data())
def test_cut_and_altered_bytes_raise_nothing_else(data):
    name = data.draw(st.sampled_from(NAMES))
    texts = [bytearray((RECORDED / f"{name}.{kind}.json").read_bytes()) for kind in ("layers", "profile")]
    text = texts[data.draw(st.sampled_from([0, 1]))]
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    del text[data.draw(st.integers(len(text) // 2, len(text))):]
    try:
        explain({"layers": bytes(texts[0]), "profile": bytes(texts[1])}).document()
    except EdgeSeError as error:
        assert "layer" in str(error) or "profile" in str(error)
