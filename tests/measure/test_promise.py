"""An engine that runs another type than its file asks for is told by the node's name, with the share that is kept."""

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from edge_se.core.errors import EdgeSeError
from edge_se.evaluation.limits import share_verdicts
from edge_se.measure.builder_log import layers_in
from edge_se.measure.layers import engine_of
from edge_se.measure.promise import Broken, promise_of
from edge_se.steps.bench_rows import add_promises

RECORDED = Path(__file__).parents[1] / "recorded" / "layers"


def recorded(name):
    return json.loads((RECORDED / f"{name}.layers.json").read_text()), json.loads(
        (RECORDED / f"{name}.profile.json").read_text())


def file_of(graph_of, names, *, floats=()):
    """A chain of 1 x 1 convolutions with these names, all but `floats` behind Q/DQ; each has 3 x 3 x 64 MACs."""
    nodes, last = [], "x"
    for name in names:
        if name not in floats:
            nodes += [("QuantizeLinear", [last, "s", "z"], [f"{name}_q"]),
                      ("DequantizeLinear", [f"{name}_q", "s", "z"], [f"{name}_d"]),
                      ("DequantizeLinear", ["w", "s", "z"], [f"{name}_w"])]
        nodes.append(("Conv", [f"{name}_d", f"{name}_w"] if name not in floats else [last, "f"], [f"{name}_y"]))
        last = f"{name}_y"
    nodes.append(("Identity", [last], ["y"]))
    proto = graph_of(nodes, {"s": np.float32(0.1), "z": np.int8(0), "w": np.ones((3, 3, 1, 1), np.int8),
                             "f": np.ones((3, 3, 1, 1), np.float32)})
    for node in proto.graph.node:
        node.name = node.output[0].removesuffix("_y") if node.op_type == "Conv" else f"of {node.output[0]}"
    return proto


def layer(name, datatype, nodes=None):
    return {"Name": nodes or name, "LayerType": "CaskConvolution", "Inputs": [
        {"Name": "x", "Dimensions": [1, 3, 8, 8], "Format/Datatype": f"Row major {datatype}"}], "Outputs": []}


def engine(*layers):
    return engine_of({"Layers": list(layers)}, [{"name": item["Name"], "averageMs": 1.0} for item in layers])


def test_nvidias_int8_engine_keeps_what_a_file_with_its_names_asks(graph_of):
    kept = promise_of(file_of(graph_of, ["Conv_9", "Conv_22", "Conv_34"]), engine_of(*recorded("a100-resnet18-int8")))
    assert (kept.share, kept.broken) == (1.0, ())


def test_nvidias_fp16_engine_breaks_it_and_each_layer_is_named(graph_of):
    # The last is in the profile alone.
    kept = promise_of(file_of(graph_of, ["Conv_0", "Conv_3", "Conv_5"]), engine_of(*recorded("a100-resnet18-fp16")))
    assert kept.share == 0.0
    assert [(item.node, item.asked, item.runs) for item in kept.broken] == [
        ("Conv_0", "int8", "fp16"), ("Conv_3", "int8", "fp16"), ("Conv_5", "int8", None)]


def test_one_of_three_is_a_third_of_the_macs(graph_of):
    built = engine(layer("a", "Int8"), layer("b + Relu_1", "FP16"), layer("c", "Int8"))
    kept = promise_of(file_of(graph_of, "abc"), built)
    assert kept.share == pytest.approx(2 / 3)
    assert kept.broken == (Broken(node="b", asked="int8", runs="fp16", macs=3 * 3 * 64),)


def test_a_node_that_no_layer_names_is_not_taken_for_int8(graph_of):
    kept = promise_of(file_of(graph_of, "ab"), engine(layer("a", "Int8")))
    assert kept.share == 0.5 and [(item.node, item.runs) for item in kept.broken] == [("b", None)]


def test_what_prepares_the_input_of_a_node_is_not_its_type(graph_of):
    """TensorRT for RTX's layer that pads a convolution's input names the convolution, too, and comes first."""
    padding = layer("__myl_RounCastConc_myl0_0", "Float") | {"LayerType": "kgen", "Metadata": "[ONNX Layer: a]"}
    own = layer("a_myl0_1", "Int8") | {"LayerType": "correlation", "Metadata": "[ONNX Layer: a]\x1f[ONNX Layer: q]"}
    after = layer("ab_myl0_2", "Float") | {"LayerType": "kgen", "Metadata": "[ONNX Layer: a]"}
    for layers in ((padding, own), (own, after), (padding, own, after)):
        assert promise_of(file_of(graph_of, "a"), engine(*layers)).share == 1.0
    assert promise_of(file_of(graph_of, "a"), engine(padding, after)).broken[0].runs is None


LINE = ("Name: a_myl0_1, LayerType: correlation, Inputs: [ { Name: x, Dimensions: [1,4,8,8], Strides: [1,1,1,1], "
        "StrideOrder: [3,0,2,1], Datatype: {}, Format: (NHWC) Channel major format }, { Name: y, Dimensions: [], "
        "Strides: [], StrideOrder: [], Datatype: Int8, Format: Row }], Constants: [ { Name: w, Dimensions: [3,4], "
        "Strides: [1,1], StrideOrder: [0,1], Datatype: Int8, Format: z }], Outputs: [ { Name: o, Dimensions: [1,3], "
        "Strides: [3,1], StrideOrder: [1,0], Datatype: Float, Format: Row }], TacticName: t, StreamId: 0, Metadata: "
        "[ONNX Layer: a]")


@pytest.mark.parametrize(("datatype", "share"), [("Int8", 1.0), ("Float", 0.0), ("Half", 0.0)])
def test_a_builder_tells_its_layers_in_its_log(graph_of, datatype, share):
    line = LINE.replace("Datatype: {}", f"Datatype: {datatype}")
    found, = layers_in(f"Layers:\n{line}\n\nI/O Tensors:\n Name: images")
    assert found["Inputs"][0] == {"Name": "x", "Dimensions": [1, 4, 8, 8], "Datatype": datatype,
                                  "Format": "(NHWC) Channel major format"}
    assert [tensor["Name"] for tensor in found["Inputs"] + found["Outputs"]] == ["x", "y", "o"]
    assert promise_of(file_of(graph_of, "a"), engine_of([found], None)).share == share


@pytest.mark.parametrize("log", ["", "Name: a, LayerType: b", "Layers:\nName: a, LayerType: b, Inputs: [ { Name"])
def test_a_log_without_whole_lines_tells_nothing(log):
    assert layers_in(log) == []


def test_what_the_file_leaves_in_float_is_no_promise(graph_of):
    kept = promise_of(file_of(graph_of, "ab", floats="b"), engine(layer("a", "Int8"), layer("b", "FP16")))
    assert (kept.share, kept.broken) == (1.0, ())
    assert promise_of(file_of(graph_of, "a", floats="a"), engine(layer("a", "FP16"))).share is None


@pytest.mark.parametrize(("datatype", "broken"), [("FP8", []), ("FP16", [("a", "fp8", "fp16")])])
def test_fp8_that_runs_in_another_type_is_named(graph_of, datatype, broken):
    proto = file_of(graph_of, "a")
    zero = next(item for item in proto.graph.initializer if item.name == "z")
    zero.CopyFrom(helper.make_tensor("z", TensorProto.FLOAT8E4M3FN, [], [0]))
    weights = next(item for item in proto.graph.initializer if item.name == "w")
    weights.CopyFrom(helper.make_tensor("w", TensorProto.FLOAT8E4M3FN, [3, 3, 1, 1], np.ones(9)))
    kept = promise_of(proto, engine(layer("a", datatype)))
    assert [(item.node, item.asked, item.runs) for item in kept.broken] == broken and kept.share is None


def test_rows_of_int8_engines_get_the_share(graph_of):
    class Model:
        proto = file_of(graph_of, "ab")
    layers = [layer("a", "Int8"), layer("b", "FP16")]
    profile = {"layers": {"Layers": layers}, "profile": [{"name": name, "averageMs": 1.0} for name in "ab"]}
    rows = [{"precision": "int8"}, {"precision": "fp16"}, {"precision": "int8"}]
    add_promises([(rows[0], profile, Model), (rows[1], profile, Model), (rows[2], None, Model)])
    assert rows[0]["int8_mac_share_engine"] == 0.5 and rows[0]["broken_promises"][0]["node"] == "b"
    assert rows[1:] == [{"precision": "fp16"}, {"precision": "int8"}]


class File:
    target, file, sha256 = "tensorrt", "int8.tensorrt.onnx", "a" * 64
    key = sha256, target


@pytest.mark.parametrize(("shares", "limit", "verdict"), [
    ([1.0], 100, "pass"), ([0.98], 99, "fail"), ([1.0, 0.5], 90, "fail"), ([0.9], 90, "pass"),
    ([0.57], 57, "pass"), ([0.29], 29, "pass"), ([0.5699999], 57, "fail"), ([], 90, "inconclusive")])
def test_a_gate_judges_the_share(tmp_path, shares, limit, verdict):
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"schema": "edge-se/bench/1", "measurements": [
        {"sha256": File.sha256, "target": File.target, "int8_mac_share_engine": share} for share in shares]
        + [{"sha256": "b" * 64}]}))
    (row,) = share_verdicts([File], limit, path)
    assert row["verdict"] == verdict and row["share"] == (
        pytest.approx(100 * min(shares)) if shares else None)


@pytest.mark.parametrize("share", ["all", 7, True, float("nan")])
def test_a_share_that_is_none_is_refused(tmp_path, share):
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"schema": "edge-se/bench/1", "measurements": [
        {"sha256": File.sha256, "int8_mac_share_engine": share}]}))
    with pytest.raises(EdgeSeError, match=r"int8_mac_share_engine|not readable"):
        share_verdicts([File], 90, path)
