"""Causes on recorded and made-up engines, excitations against the graph's own, and arithmetic with known shares."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from edge_se.core.errors import EdgeSeError
from edge_se.graph.counting import shapes_of
from edge_se.measure.causes import CAUSES, causes_of
from edge_se.measure.explain import explain
from edge_se.measure.layers import engine_of, read_engine
from edge_se.quantization.excitations import find_excitations

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "tests" / "recorded" / "layers"
SCHEMA = Draft202012Validator(json.loads((ROOT / "docs" / "schema" / "explain-1.json").read_text()))
CONTEXTS = {"int8": "Row major Int8 format", "fp16": "Channel major FP16 format where channel % 8 == 0",
            "fp32": "Row major linear FP32"}


def recorded(name):
    return read_engine(RECORDED / f"{name}.layers.json", RECORDED / f"{name}.profile.json")


def tensor(name, datatype, *shape):
    return {"Name": name, "Location": "Device", "Dimensions": list(shape), "Format/Datatype": CONTEXTS[datatype]}


def layer(name, kind, read, write, **fields):
    """Made-up layer information; `read` and `write` are (name, datatype, *shape) or lists of these."""
    sides = [[tensor(*one) for one in (side if isinstance(side, list) else [side])] for side in (read, write)]
    return {"Name": name, "LayerType": kind, "Inputs": sides[0], "Outputs": sides[1], **fields}


def recording(*layers_and_times):
    """{"layers", "profile"} as `bench --explain` gets them from a device."""
    layers = [entry for entry, _ in layers_and_times]
    return {"layers": {"Layers": layers, "Bindings": ["x", "y"]},
            "profile": [{"name": entry["Name"], "averageMs": time} for entry, time in layers_and_times]}


def conv(name, datatype, read, write, side=8):
    kind = {"int8": "Int8", "fp16": "Half", "fp32": "Float"}[datatype]
    return layer(name, "CaskConvolution", (read, datatype, 1, 16, side, side), (write, datatype, 1, 16, side, side),
                 Weights={"Type": kind, "Count": 1})


def reformat(name, read, write, **fields):
    return layer(name, "Reformat", (read, "fp32", 1, 16, 8, 8), (write, "int8", 1, 16, 8, 8), **fields)


def int8_engine(reformats=0.4, quantizes=0.1, products=0.3, floats=0.2):
    """Made up, all shares known: 1 ms by default."""
    return recording(
        (reformat("Reformatting CopyNode for Input Tensor 0 to node_Conv_1", "x", "a", Origin="REFORMAT"), reformats),
        (reformat("a_QuantizeLinear", "a", "b", Origin="QDQ"), quantizes),
        (conv("w.weight + w.weight_DequantizeLinear + node_Conv_1 + node_relu", "int8", "b", "c"), products),
        (conv("node_Conv_2", "fp16", "c", "y"), floats))


def baseline(first=0.6, second=0.2):
    return recording((conv("node_Conv_1 + node_relu", "fp16", "x", "c"), first),
                     (conv("node_Conv_2", "fp16", "c", "y"), second))


def shares(explanation):
    return {item.cause: item.share for item in explanation.breakdown.causes}


def test_recorded_resnet_is_faster_and_says_what_it_would_be():
    found = explain(recorded("a100-resnet18-int8"), baseline=recorded("a100-resnet18-fp16"))
    assert shares(found) == pytest.approx({"int8-compute": 0.562176 / 0.672768, "quantize": 0.095232 / 0.672768,
                                           "other": 0.01536 / 0.672768})
    assert found.comparison.speedup == pytest.approx(1.016832 / 0.672768)
    assert found.verdict == ("INT8 is 1.51x faster than FP16; it would be 1.76x without the quantize and dequantize "
                             "kernels")
    assert any("at the inputs and outputs of the engine" in line for line in found.advice)
    assert not found.comparison.matches  # two exports of the net, with other node names


def test_recorded_names_alone_tell_what_they_can():
    engine = recorded("names-only-qat-detector")
    found = dict(zip((entry.name for entry in engine.layers), causes_of(engine)))
    assert found["/backbone/conv1/_input_quantizer/QuantizeLinear"] == "quantize"
    assert found["/neck/detect3/conv1/conv/_input_quantizer/QuantizeLinear_clone_1"] == "quantize"
    assert found["/neck/Concat_/neck/Resize_output_0_clone_0 copy"] == "reformat"
    assert found["/backbone/maxpool/MaxPool"] == "other"
    assert sum(cause == "pointwise" for cause in found.values()) == 1
    assert sum(cause == "int8-compute" for cause in found.values()) == 4
    assert "bare names" in explain(engine).notes[0]


# Names and types as in NVIDIA/TensorRT issues 1293, 4397 and 4535 and in trt-engine-explorer; times are made up.
@pytest.mark.parametrize(("entry", "cause"), [
    ({"Name": "QuantizeLinear_151_quantize_scale_node", "LayerType": "Scale"}, "quantize"),
    ("QuantizeLinear_151_quantize_scale_node", "quantize"),
    ("Reformatting CopyNode for Input Tensor 0 to QuantizeLinear_176_quantize_scale_node", "reformat"),
    ({"Name": "Identity_76", "LayerType": "Reformat"}, "reformat"),
    ({"Name": "Identity_76", "LayerType": "Reformat", "Origin": "QDQ"}, "quantize"),
    ({"Name": "onnx::Conv_1063", "LayerType": "Constant"}, "other"),
    ({"Name": "__myl_Move_myl1_0", "LayerType": "kgen", "Metadata": ""}, "reformat"),
    ({"Name": "__myl_Fc_myl0_69", "LayerType": "fusion", "Inputs": [{"Name": "x", "Format/Datatype": "Half"}],
      "TacticName": "sm80_xmma_gemm_f16f16_f16f16_f16_nn_n_tilesize32x32x64_stage6_warpsize2x2x1_tensor16x8x16_by_"
                    "fusion_tactic",
      "Metadata": "[ONNX Layer: /encoder/layers.9/pos_ff/dense/MatMul]"}, "float-compute"),
    ({"Name": "v_projection_fused", "LayerType": "fusion", "Inputs": [{"Name": "x", "Format/Datatype": "Int8"}],
      "TacticName": "sm80_xmma_gemm_i8f32_i8i32_f32_by_fusion_tactic"}, "int8-compute"),
    ({"Name": "PWN(PWN(/model.0/act/Sigmoid), PWN(/model.0/act/Mul))", "LayerType": "PointWiseV2"}, "pointwise"),
    ("PWN(PWN(/model.0/act/Sigmoid), PWN(/model.0/act/Mul))", "pointwise"),
    ("graph_input_cast0", "reformat"),
    ("Conv_5 + Add_6 + Relu_7", "compute"),
    ("/blocks/blocks.0/blocks.0.0/se/conv_reduce/Conv", "se-gate"),
])
def test_one_layer(entry, cause):
    name = entry if isinstance(entry, str) else entry["Name"]
    assert causes_of(engine_of([entry], [{"name": name, "averageMs": 1}])) == [cause]


def unfused(model):
    """Made up: one layer per node of an ONNX graph, FP16, with the graph's own names and shapes."""
    shapes = shapes_of(model.proto)
    kinds = {"Conv": "CaskConvolution", "Gemm": "gemm", "GlobalAveragePool": "CudaPooling", "Flatten": "Shuffle"}
    constants = {item.name for item in model.proto.graph.initializer}

    def tensors(names):
        return [(name, "fp16", *(size or 1 for size in shapes[name])) for name in names if name not in constants]
    return recording(*((layer(node.name, kinds.get(node.op_type, "PointWiseV2"), tensors(node.input),
                              tensors(node.output)), 1.0) for node in model.proto.graph.node))


def named_excitations(model):
    """Names of the nodes of the excitations that quantization finds in the graph."""
    outputs = {name for one in find_excitations(model.proto) for name in (*one.squeezes, *one.inner, one.scale)}
    return {node.name for node in model.proto.graph.node if node.output[0] in outputs}


def test_excitations_are_those_of_the_graph(tiny_onnx, tiny_plain_onnx):
    for model in (tiny_onnx, tiny_plain_onnx):
        document = unfused(model)
        engine = engine_of(document["layers"], document["profile"])
        found = {entry.name for entry, cause in zip(engine.layers, causes_of(engine)) if cause == "se-gate"}
        assert found == named_excitations(model)
    assert len(named_excitations(tiny_onnx)) == 4 * 6 and not named_excitations(tiny_plain_onnx)


def test_excitations_of_our_export_are_known_by_name_but_for_their_layers(tiny_onnx, tiny_plain_onnx):
    for model in (tiny_onnx, tiny_plain_onnx):
        names = [node.name for node in model.proto.graph.node]
        engine = engine_of(names, [{"name": name, "averageMs": 1} for name in names])
        found = {entry.name for entry, cause in zip(engine.layers, causes_of(engine)) if cause == "se-gate"}
        assert found == {name for name in named_excitations(model) if "Conv" not in name and "relu" not in name}


def test_an_excitation_keeps_its_reformats_and_convolutions_apart():
    """Made up: pool, reformat, INT8 layer, sigmoid, and the scale fused with the residual add."""
    big, small = (1, 16, 8, 8), (1, 16, 1, 1)
    engine = recording(
        (conv("node_Conv_1", "int8", "x", "u"), 0.1),
        (layer("node_mean", "CudaPooling", ("u", "int8", *big), ("p", "fp16", *small)), 0.1),
        (layer("Reformatting CopyNode for Input Tensor 0 to fc", "Reformat", ("p", "fp16", *small),
               ("q", "int8", *small)), 0.1),
        (layer("node_Conv_2", "CaskConvolution", ("q", "int8", *small), ("r", "int8", *small),
               Weights={"Type": "Int8", "Count": 1}), 0.1),
        (layer("PWN(node_sigmoid)", "PointWiseV2", ("r", "int8", *small), ("s", "fp16", *small)), 0.1),
        (layer("PWN(PWN(node_mul_1, node_add_1), node_relu)", "PointWiseV2",
               [("u", "int8", *big), ("s", "fp16", *small), ("x", "int8", *big)], ("y", "int8", *big)), 0.1))
    found = explain(engine)
    assert causes_of(found.breakdown.engine) == ["int8-compute", "se-gate", "reformat", "se-gate", "se-gate", "se-gate"]
    assert shares(found) == pytest.approx({"se-gate": 4 / 6, "reformat": 1 / 6, "int8-compute": 1 / 6})
    assert any(line.startswith("Excitations take 67 %") and "--placement se-float" in line for line in found.advice)


def test_a_convolution_with_the_pool_in_it_is_no_excitation():
    """Made up: what it computes besides the pool is most of it."""
    big, small = (1, 16, 8, 8), (1, 16, 1, 1)
    engine = recording(
        (layer("node_Conv_1 + node_mean", "CaskConvActPool", ("x", "int8", *big),
               [("u", "int8", *big), ("p", "int8", *small)], Weights={"Type": "Int8", "Count": 1}), 1.0),
        (layer("PWN(node_sigmoid)", "PointWiseV2", ("p", "int8", *small), ("s", "fp16", *small)), 1.0),
        (layer("PWN(node_mul_1)", "PointWiseV2", [("u", "int8", *big), ("s", "fp16", *small)], ("y", "int8", *big)),
         1.0))
    assert causes_of(explain(engine).breakdown.engine) == ["int8-compute", "se-gate", "se-gate"]


def test_shares_and_what_it_would_be_by_hand():
    found = explain(int8_engine(), baseline=baseline(first=1.2, second=0.2))
    assert shares(found) == pytest.approx({"reformat": 0.4, "int8-compute": 0.3, "float-compute": 0.2, "quantize": 0.1})
    comparison = found.comparison
    assert (comparison.basis, comparison.baseline_precision) == ("kernels", "fp16")
    assert comparison.speedup == pytest.approx(1.4)
    gain = 1.2 / 0.3
    assert {(item.cause, item.how): item.speedup for item in comparison.would_be} == pytest.approx({
        ("reformat", "removed"): 1.4 / 0.6, ("quantize", "removed"): 1.4 / 0.9,
        ("float-compute", "as the INT8 layers"): 1.4 / (0.8 + 0.2 / gain)})
    assert found.verdict == "INT8 is 1.40x faster than FP16; it would be 2.33x without the reformats"
    assert {item.group: item.speedup for item in comparison.groups} == pytest.approx({
        "all-compute": 1.4 / 0.5, "reformat": None, "quantize": None})
    assert [(match.nodes, match.speedup) for match in comparison.matches] == [
        (("node_Conv_1", "node_relu"), pytest.approx(4.0)), (("node_Conv_2",), pytest.approx(1.0))]
    assert comparison.matched_share == pytest.approx(0.5)


def test_excitations_that_are_slower_than_the_baselines():
    ours, theirs = ({"layers": ["/se/Conv", conv("node_Conv_1", kind, "x", "y")],
                     "profile": [{"name": "/se/Conv", "averageMs": ms}, {"name": "node_Conv_1", "averageMs": 1.0}]}
                    for ms, kind in ((0.6, "int8"), (0.2, "fp16")))
    (would_be,) = explain(ours, baseline=theirs).comparison.would_be
    assert (would_be.cause, would_be.how, would_be.speedup) == ("se-gate", "as in the baseline", pytest.approx(1.0))
    assert explain(theirs, baseline=ours).comparison.would_be == ()


def test_different_fusions_match_as_sets():
    ours = recording((conv("node_Conv_1", "int8", "x", "a"), 1.0),
                     (conv("node_add_1 + node_Conv_2", "int8", "a", "y"), 2.0))
    theirs = recording((conv("node_Conv_1 + node_add_1", "fp16", "x", "a"), 4.0),
                       (conv("node_Conv_2", "fp16", "a", "y"), 5.0))
    (match,) = explain(ours, baseline=theirs).comparison.matches
    assert (match.milliseconds, match.baseline_ms, match.speedup) == (3.0, 9.0, 3.0)
    assert match.layers == ("node_Conv_1", "node_add_1 + node_Conv_2")


def test_launches_that_dominate_are_the_verdict():
    found = explain(int8_engine(), latency_ms=4.0, baseline=baseline(), baseline_latency_ms=4.2)
    assert (found.launch_ms, found.launch_share) == (pytest.approx(3.0), pytest.approx(0.75))
    assert found.comparison.basis == "latency" and found.comparison.speedup == pytest.approx(1.05)
    assert found.verdict == ("INT8 is not worth it here (1.05x of FP16): launches and waits take 75 % of the run; its "
                             "kernels alone are 0.80x")
    assert "CUDA graph" in found.advice[0]
    assert explain(int8_engine(), latency_ms=4.0).verdict.startswith("INT8 is not worth it here")
    faster = explain(int8_engine(), latency_ms=4.0, baseline=baseline(), baseline_latency_ms=8.0)
    assert faster.verdict.startswith("INT8 is 2.00x faster than FP16")  # whatever the launches


def test_slower_and_not_faster_are_told_apart():
    slower = explain(int8_engine(), baseline=baseline())
    assert slower.verdict.startswith("INT8 is slower than FP16 (0.80x); it would be 1.33x without the reformats")
    same = explain(int8_engine(reformats=0.0, quantizes=0.0, products=0.6), baseline=baseline())
    assert same.verdict == "INT8 is not faster than FP16 (1.00x)"


def test_a_profile_that_is_slower_than_the_run_is_told():
    found = explain(int8_engine(), latency_ms=0.5)
    assert (found.launch_ms, found.launch_share) == (0.0, 0.0)
    assert any("profiling slows each of them" in note for note in found.notes)
    one = explain(int8_engine(), latency_ms=2.0, baseline=baseline())
    assert one.comparison.basis == "kernels" and any("one latency alone" in note for note in one.notes)


ADVICE = {
    "ends": (int8_engine(), "at the inputs and outputs of the engine", "alternate"),
    "borders inside": (recording((conv("node_Conv_1", "int8", "x", "a"), 1.0),
                                 (reformat("Reformatting CopyNode for Input Tensor 0 to b", "a", "b"), 1.0),
                                 (conv("node_Conv_2", "int8", "b", "y"), 1.0)), "alternate", "at the inputs"),
    "FP32 islands": (recording((conv("node_Conv_1", "int8", "x", "a"), 1.0),
                               (conv("node_Conv_2", "fp32", "a", "y"), 1.0)),
                     "--target tensorrt-fp16 (TensorRT 10", "reformats"),
    "no INT8": (baseline(), "no layer computes in INT8", "stayed float"),
    "adds": (recording((conv("node_Conv_1", "int8", "x", "a"), 0.8),
                       (layer("node_add_1", "ElementWise", ("a", "fp16", 1, 16, 8, 8),
                              ("y", "fp16", 1, 16, 8, 8)), 0.2)),
             "adds and activations of their own take 20 %", "excitations"),
    "tiny": (recording((conv("node_Conv_1", "int8", "x", "y"), 0.004)), "less than 4.0 us", "reformats"),
    "nothing": (recording((conv("node_Conv_1", "int8", "x", "y"), 1.0)), "nothing stands out", "less than"),
}


@pytest.mark.parametrize(("engine", "says", "not_this"), ADVICE.values(), ids=ADVICE.keys())
def test_advice_follows_the_shares(engine, says, not_this):
    advice = " ".join(explain(engine).advice)
    assert says in advice and not_this not in advice


def test_layers_that_int8_made_slower_are_named():
    found = explain(int8_engine(products=0.7), baseline=baseline(first=0.5))
    assert "1 INT8 layers are slower than the baseline's and lose 0.200 ms" in " ".join(found.advice)


@pytest.mark.parametrize("change", [{}, {"latency_ms": 2.0}, {"baseline": baseline()},
                                    {"latency_ms": 2.0, "baseline": baseline(), "baseline_latency_ms": 3.0}])
def test_documents_fit_their_schema(change):
    document = explain(int8_engine(), **change).document()
    SCHEMA.validate(document)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert sum(item["share"] for item in document["causes"]) == pytest.approx(1.0)
    assert {item["cause"] for item in document["causes"]} <= CAUSES.keys()


def test_what_cannot_be_explained_is_refused():
    with pytest.raises(EdgeSeError, match="profile of the INT8 engine: no layer takes any time"):
        explain({"layers": ["a"], "profile": [{"name": "a", "averageMs": 0}]})
    with pytest.raises(EdgeSeError, match="profile of the baseline: holds no layer"):
        explain(int8_engine(), baseline={"layers": ["a"], "profile": None})
    with pytest.raises(EdgeSeError, match="profile of the baseline: expected a list"):
        explain(int8_engine(), baseline={"layers": ["a"], "profile": {"a": 1}})
    for latency in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(EdgeSeError, match=r"--latency-ms: .* is no latency"):
            explain(int8_engine(), latency_ms=latency)
    with pytest.raises(EdgeSeError, match="--baseline-latency-ms: needs the baseline's profile"):
        explain(int8_engine(), baseline_latency_ms=1.0)


# ---- blocks whose inside no file tells, and precisions besides INT8

DLA = [("images to nvm", 0.085), ("{ForeignNode[Conv_0...Concat_90]}", 0.0085), ("scores from nvm", 7.69),
       ("images copy finish", 0.0017), ("scores copy finish", 0.0029)]
FOREIGN = [("Reformatting CopyNode for Input Tensor 0 to {ForeignNode[stem.weight.../head/Gemm]}", 0.02),
           ("{ForeignNode[stem.weight.../head/Gemm]}", 0.61)]


@pytest.mark.parametrize(("names", "share"), [(DLA, 1.0), (FOREIGN, 0.61 / 0.63), (FOREIGN[1:], 1.0)])
def test_a_block_says_nothing_of_precision(names, share):
    """NVIDIA/TensorRT#3143, #3768: these engines may well compute in INT8."""
    found = explain(engine_of([name for name, _ in names], [{"name": name, "averageMs": ms} for name, ms in names]))
    assert shares(found)["block"] == pytest.approx(share)
    assert "the files do not tell what precision" in found.verdict and "INT8" not in found.verdict
    assert not any("no layer computes in INT8" in advice or "half of the kernels" in advice for advice in found.advice)
    assert any("compiled blocks or the DLA take" in advice for advice in found.advice)


def test_layers_of_dla_by_their_type():
    engine = engine_of(
        {"Layers": [{"Name": "backbone", "LayerType": "DLA"}, {"Name": "tail", "LayerType": "Convolution",
                                                               "Weights": {"Type": "Int8"}}]},
        [{"name": "backbone", "averageMs": 0.05}, {"name": "tail", "averageMs": 0.95}])
    found = explain(engine)
    assert shares(found) == pytest.approx({"block": 0.05, "int8-compute": 0.95})
    assert "INT8 compute takes 95 %" in found.verdict  # a small block hides little


@pytest.mark.parametrize(("datatype", "tactic", "computes"), [
    ("FP8", "sm110_e4m3e4m3_bf16", "fp8"), ("FP8", None, "fp8"), ("Int8", "sm89_xmma_fprop_e4m3e4m3_f32", "fp8"),
    ("FP4", None, "fp4"), ("FP4E2M1", "sm100_e2m1_e2m1", "fp4")])
def test_fp8_and_fp4_are_their_own(datatype, tactic, computes):
    tensors = [{"Name": name, "Dimensions": [1, 8, 8, 8], "Format": "x", "Datatype": kind}
               for name, kind in (("a", datatype), ("b", "BFloat16"))]
    found = explain(engine_of([{"Name": "conv", "LayerType": "conv", "Inputs": tensors[:1], "Outputs": tensors[1:],
                                "TacticName": tactic}], [{"name": "conv", "averageMs": 0.5}]))
    (only,) = found.breakdown.layers
    assert (only.cause, only.computes) == ("fp8-compute", computes)
    assert "FP8 and FP4 compute takes 100 %" in found.verdict
    assert not any("no layer computes in INT8" in advice for advice in found.advice)
    SCHEMA.validate(found.document())
