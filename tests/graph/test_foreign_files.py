"""Files from elsewhere: batch norm is folded, squeezes are rewritten, and what cannot be handled is refused by node."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edge_se.core.errors import ModelError
from edge_se.graph import foreign
from edge_se.graph.foreign import normalised
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.excitations import find_excitations

RANDOM = np.random.default_rng(0)
W = RANDOM.standard_normal((4, 3, 1, 1), np.float32)
NORM = {name: np.abs(RANDOM.standard_normal(4, np.float32)) + 0.5 for name in ("scale", "shift", "mean", "var")}
IMAGES = RANDOM.standard_normal((2, 3, 8, 8), np.float32)
HEAD = [("GlobalAveragePool", ["c"], ["p"]), ("Flatten", ["p"], ["y"])]


class LinearSe(nn.Module):
    """SE as most repositories write it: linear layers, `view` and `expand_as` (moskomule/senet.pytorch)."""

    def __init__(self, channels=16):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, channels, 3, 1, 1), nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, 10)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Linear(channels, 4, bias=False), nn.ReLU(), nn.Linear(4, channels, bias=False),
                                nn.Sigmoid())

    def forward(self, x):
        u = self.norm(self.conv(x))
        n, c, _, _ = u.shape
        excitation = self.fc(self.pool(u).view(n, c)).view(n, c, 1, 1)
        return self.head((u * excitation.expand_as(u)).mean((2, 3)))


def operators(proto):
    return [node.op_type for node in proto.graph.node]


def test_batch_norm_is_folded_and_squeezes_are_rewritten(graph_of, run_onnx, tmp_path):
    model = OnnxModel.of(graph_of(
        [("Conv", ["x", "w"], ["a"]), ("BatchNormalization", ["a", "scale", "shift", "mean", "var"], ["c"]),
         ("ReduceMean", ["c"], ["y"], {"axes": [2, 3], "keepdims": 0})], {"w": W, **NORM}))
    proto = normalised(model, tmp_path / "m.onnx")
    assert operators(proto) == ["Conv", "GlobalAveragePool", "Flatten"]
    assert [entry.domain for entry in proto.opset_import] == [""]
    np.testing.assert_allclose(run_onnx(proto, IMAGES)[0], run_onnx(model, IMAGES)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("condition", ["an initializer", "a size"])
@pytest.mark.parametrize("other", ["Neg", "Relu", "the tensor itself"])
def test_a_branch_reads_what_otherwise_nobody_does(graph_of, run_onnx, tmp_path, condition, other):
    """onnxruntime's optimizer would not load it (findings/onnxruntime_unread_node_and_branch.sh)."""
    def branch(operator, name):
        result = helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 4, 8, 8])
        return helper.make_graph([helper.make_node(operator, ["c"], [name])], "branch", [], [result])

    one, two = branch("Abs", "one"), branch("Identity" if other == "the tensor itself" else other, "two")
    model = graph_of([("Conv", ["x", "w"], ["c"]), ("Shape", ["c"], ["s"]), ("Gather", ["s", "first"], ["g"]),
                      ("Equal", ["g", "three"], ["e"]),
                      ("If", ["e" if condition == "a size" else "no"], ["i"], {"then_branch": one, "else_branch": two}),
                      ("GlobalAveragePool", ["i"], ["p"]), ("Flatten", ["p"], ["y"])],
                     {"w": W, "first": np.array(1), "three": np.array(3), "no": np.array(False)})
    proto = normalised(OnnxModel.of(model), tmp_path / "m.onnx")
    assert not {"If", "Shape", "Equal"} & set(operators(proto))
    plain = {"Neg": lambda x: -x, "Relu": lambda x: np.maximum(x, 0)}.get(other, lambda x: x)
    convolved = np.einsum("oi,nihw->nohw", W[:, :, 0, 0], IMAGES)
    np.testing.assert_allclose(run_onnx(proto, IMAGES)[0], plain(convolved).mean((2, 3)), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("step", ["explicit_pads", "plain_gemms", "with_hard_swishes"])
def test_a_rewrite_that_changed_the_answers_would_not_pass(graph_of, tmp_path, monkeypatch, step):
    model = OnnxModel.of(graph_of([("Conv", ["x", "w"], ["c"]), *HEAD], {"w": W}))

    def spoilt(proto):
        proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(1.01 * W, proto.graph.initializer[0].name))
        return proto

    assert normalised(model, tmp_path / "m.onnx")
    monkeypatch.setattr(foreign, step, spoilt)
    with pytest.raises(ModelError, match="edge-se would change what it computes"):
        normalised(model, tmp_path / "m.onnx")


def test_it_is_deterministic(graph_of, tmp_path):
    model = OnnxModel.of(graph_of([("Conv", ["x", "w"], ["c"]), *HEAD], {"w": W}))
    one, other = (OnnxModel.of(normalised(model, tmp_path / "m.onnx")).sha256 for _ in range(2))
    assert one == other


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(("dynamo", "opset"), [(False, 13), (False, 17), (True, 18)])
@pytest.mark.filterwarnings("ignore")
def test_the_excitation_of_a_common_se_block_is_found(tmp_path, run_onnx, dynamo, opset, dynamic):
    torch.manual_seed(0)
    net, path = LinearSe().eval(), tmp_path / "m.onnx"
    shapes = {"dynamic_shapes": ({0: torch.export.Dim("n")},)} if dynamo else {"dynamic_axes": {"x": {0: "n"}}}
    external = {"external_data": False} if dynamo else {}
    torch.onnx.export(net, (torch.zeros(2, 3, 32, 32),), str(path), dynamo=dynamo, input_names=["x"],
                      opset_version=opset, verbose=False, **external, **(shapes if dynamic else {}))
    proto = normalised(OnnxModel.read(path), path)
    (excitation,) = find_excitations(proto)
    kinds = {node.output[0]: node.op_type for node in proto.graph.node}
    assert sum(kinds[name] in ("Gemm", "MatMul") for name in excitation.inner) == 2
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        np.testing.assert_allclose(run_onnx(proto, images.numpy())[0], net(images), rtol=1e-3, atol=1e-4)


def with_two_outputs(graph):
    graph.graph.output.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, None))


def with_a_custom_domain(graph):
    graph.opset_import.add(domain="com.mine", version=1)
    graph.graph.node[1].domain = "com.mine"


def without_size(graph):
    graph.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"


def with_two_channels(graph):
    graph.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2


def of_old_opset(graph):
    graph.opset_import[0].version = 6


def with_an_unknown_operator(graph):
    graph.graph.node[1].op_type = "GlobalAveragePol"


@pytest.mark.parametrize(("change", "message"), [
    (with_two_outputs, r"has 2 outputs \(y, c\); a classifier has one; export the logits alone"),
    (with_a_custom_domain, "GlobalAveragePool node 'p': operator of the custom domain 'com.mine'"),
    (without_size, "its height and width are not fixed"),
    (with_two_channels, "one or three channels are needed, first .NCHW. or last .NHWC."),
    (of_old_opset, "opset 6 .*; export it with opset 13 or later"),
    (with_an_unknown_operator, "onnxruntime cannot load it"),
])
def test_what_cannot_be_handled_is_refused(graph_of, tmp_path, change, message):
    graph = graph_of([("Conv", ["x", "w"], ["c"]), *HEAD], {"w": W})
    change(graph)
    with pytest.raises(ModelError, match=rf"m\.onnx: .*{message}"):
        normalised(OnnxModel.of(graph), tmp_path / "m.onnx")


CLASSES = np.random.default_rng(3).standard_normal((5, 3, 1, 1)).astype(np.float32)
MAPS = {"a map of one place": [("GlobalAveragePool", ["c"], ["y"])],
        "one that others read": [("GlobalAveragePool", ["c"], ["q"]), ("Mul", ["q", "q"], ["y"])],
        "rows of one row": [("GlobalAveragePool", ["c"], ["p"]), ("Reshape", ["p", "row"], ["y"])]}


@pytest.mark.parametrize("batch", ["batch", 1, 2])
@pytest.mark.parametrize("nodes", MAPS.values(), ids=MAPS)
def test_logits_become_rows(graph_of, run_onnx, tmp_path, nodes, batch):
    graph = graph_of([("Conv", ["x", "w"], ["c"]), *nodes], {"w": CLASSES, "row": np.array([-1, 1, 5])},
                     x=(batch, 3, 8, 8))
    proto = normalised(OnnxModel.of(graph), tmp_path / "m.onnx")
    images = IMAGES[:1 if batch == 1 else 2]
    own, before = run_onnx(proto, images)[0], run_onnx(graph, images)[0]
    assert own.shape == (len(images), 5) and operators(proto)[-1] == "Flatten"
    np.testing.assert_allclose(own, before.reshape(own.shape), rtol=1e-4, atol=1e-5)
    assert [output.name for output in proto.graph.output] == ["y"]


@pytest.mark.parametrize(("weights", "nodes", "message"), [
    (CLASSES, [("Identity", ["c"], ["y"])], r"output of shape \(1, 5, 8, 8\) for 1 image"),
    (CLASSES, [("ReduceMean", ["c"], ["y"], {"axes": [3], "keepdims": 0})], r"output of shape \(1, 5, 8\)"),
    (CLASSES[:1], [("GlobalAveragePool", ["c"], ["y"])], "the model has 1 output; export the model with one output a"),
    (CLASSES[:1], [("GlobalAveragePool", ["c"], ["p"]), ("Flatten", ["p"], ["f"]), ("Sigmoid", ["f"], ["y"])],
     "the model has 1 output")])
def test_what_has_no_classes_is_refused(graph_of, tmp_path, weights, nodes, message):
    graph = graph_of([("Conv", ["x", "w"], ["c"]), *nodes], {"w": weights})
    with pytest.raises(ModelError, match=rf"m\.onnx: .*{message}"):
        normalised(OnnxModel.of(graph), tmp_path / "m.onnx")


def test_a_quantized_file_is_refused(graph_of, tmp_path):
    graph = graph_of([("QuantizeLinear", ["x", "s", "z"], ["q"]), ("DequantizeLinear", ["q", "s", "z"], ["c"]), *HEAD],
                     {"s": np.float32(1), "z": np.uint8(0)})
    with pytest.raises(ModelError, match="QuantizeLinear node 'q': is quantized already; give the float model"):
        normalised(OnnxModel.of(graph), tmp_path / "m.onnx")


def test_constants_that_are_also_declared_as_inputs_are_constants(graph_of, run_onnx, tmp_path):
    """As exporters with `keep_initializers_as_inputs` write them; they would block folding and quantization."""
    graph = graph_of(
        [("Conv", ["x", "w"], ["a"]), ("BatchNormalization", ["a", "scale", "shift", "mean", "var"], ["c"]), *HEAD],
        {"w": W, **NORM})
    for name, value in {"w": W, **NORM}.items():
        graph.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))
    proto = normalised(OnnxModel.of(graph), tmp_path / "m.onnx")
    assert operators(proto) == ["Conv", "GlobalAveragePool", "Flatten"]
    assert [value.name for value in proto.graph.input] == ["x"]
    np.testing.assert_allclose(run_onnx(proto, IMAGES)[0], run_onnx(graph, IMAGES)[0], rtol=1e-4, atol=1e-5)
