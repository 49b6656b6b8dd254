"""Counts on the ONNX graph equal those of torch and of the model specification, in float and in INT8."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch.utils.flop_counter import FlopCounterMode

from edge_se.core.errors import ModelError
from edge_se.graph.counting import count, macs_by_node
from edge_se.graph.export import to_onnx
from edge_se.graph.metadata import ModelMetadata
from edge_se.graph.rewrites import prepare
from edge_se.nets.zoo import MODELS, build


def folded_parameters(net):
    """Trainable parameters once each batch norm (2 per channel) has become a bias (1 per channel)."""
    norms = sum(module.num_features for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d))
    return sum(parameter.numel() for parameter in net.parameters()) - norms


@pytest.mark.parametrize("attention", ["none", "se"])
def test_tiny_nets_count_as_in_torch(tiny_net, tiny_onnx, tiny_plain_onnx, attention):
    net, model = tiny_net(attention), tiny_onnx if attention == "se" else tiny_plain_onnx
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 3, 32, 32))
    counts = count(model.proto)
    assert counts.flops == 2 * counts.macs == counter.get_total_flops()
    assert counts.params == folded_parameters(net)
    assert (counts.int8_macs, counts.int8_mac_share) == (0, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "macs"), [("resnet18", 555_422_720), ("se_resnet18", 555_509_760)])
def test_the_nets_of_the_zoo_have_the_macs_of_the_specification(name, macs):
    net = build(MODELS[name])
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.bias)  # the exporter drops biases that are all zero
    counts = count(to_onnx(net, ModelMetadata(model=name), MODELS[name].input_size))
    assert counts.macs == macs
    assert counts.params == folded_parameters(net)


NODES = {
    "grouped conv": (("Conv", ["x", "w", "b"], ["y"], {"group": 3, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
                     {"w": (6, 1, 3, 3), "b": (6,)}, 4 * 4 * 6 * 9, 54 + 6),
    "pointwise conv": (("Conv", ["x", "w"], ["y"]), {"w": (5, 3, 1, 1)}, 8 * 8 * 15, 15),
    "transposed conv": (("ConvTranspose", ["x", "w"], ["y"], {"strides": [2, 2]}), {"w": (3, 5, 2, 2)}, 64 * 60, 60),
    "grouped transposed conv": (("ConvTranspose", ["x", "w"], ["y"], {"strides": [2, 2], "group": 3}),
                                {"w": (3, 2, 2, 2)}, 64 * 3 * 8, 24),
    "einsum": (("Einsum", ["x", "w"], ["y"], {"equation": "bchw,cd->bdhw"}), {"w": (3, 5)}, 64 * 15, 15),
    "einsum with an ellipsis": (("Einsum", ["x", "w"], ["y"], {"equation": "...w,wv->...v"}), {"w": (8, 4)},
                                3 * 8 * 4 * 8, 32),
    "prelu": (("PRelu", ["x", "w"], ["y"]), {"w": (3, 1, 1)}, 0, 3),
    "prelu of one slope": (("PRelu", ["x", "w"], ["y"]), {"w": (1,)}, 0, 1),
    "layer normalization": (("LayerNormalization", ["x", "w", "b"], ["y"]), {"w": (8,), "b": (8,)}, 0, 16),
    "batch norm": (("BatchNormalization", ["x", "w", "b", "mean", "var"], ["y"]),
                   {"w": (3,), "b": (3,), "mean": (3,), "var": (3,)}, 0, 6),
    "pixels normalised": (("Mul", ["x", "w"], ["y"]), {"w": (3, 1, 1)}, 0, 0),
    "matmul": (("MatMul", ["x", "w"], ["y"]), {"w": (8, 4)}, 3 * 8 * 4 * 8, 32),
}


@pytest.mark.parametrize("name", NODES)
def test_single_nodes(graph_of, name):
    node, shapes, macs, params = NODES[name]
    counts = count(graph_of([node], {key: np.ones(shape, np.float32) for key, shape in shapes.items()}))
    assert (counts.macs, counts.params) == (macs, params)


BESIDE = {  # behind a convolution: nodes, constants, parameters
    "hard swish": ([("Add", ["c", "three"], ["a"]), ("Mul", ["a", "sixth"], ["y"])],
                   {"three": np.float32(3), "sixth": np.float32([1 / 6])}, 0),
    "layer scale": ([("Mul", ["c", "g"], ["y"])], {"g": np.ones((4, 1, 1), np.float32)}, 4),
    "one constant read twice": ([("Mul", ["c", "g"], ["m"]), ("Mul", ["m", "g"], ["y"])],
                                {"g": np.ones((4, 1, 1), np.float32)}, 4),
    "class token": ([("Expand", ["t", "s"], ["e"]), ("Concat", ["e", "c"], ["y"], {"axis": 2})],
                    {"t": np.zeros((1, 4, 1, 1), np.float32), "s": np.array([1, 4, 1, 8])}, 4),
    "mask of attention": ([("Add", ["c", "m"], ["s"]), ("Softmax", ["s"], ["y"])],
                          {"m": np.triu(np.full((8, 8), -100, np.float32))}, 0),
    "table of positions": ([("Gather", ["t", "i"], ["g"]), ("Add", ["c", "g"], ["s"]), ("Softmax", ["s"], ["y"])],
                           {"t": np.arange(6, dtype=np.float32), "i": np.arange(64).reshape(8, 8) % 6}, 6),
    "table that was gathered": ([("Add", ["c", "g"], ["s"]), ("Softmax", ["s"], ["y"])],
                                {"g": (np.arange(64) % 6).reshape(8, 8).astype(np.float32)}, 6),
    "anti-aliasing": ([("Conv", ["c", "k"], ["y"], {"group": 4})], {"k": np.full((4, 1, 3, 3), 1 / 9, np.float32)}, 0),
}


@pytest.mark.parametrize(("nodes", "constants", "params"), BESIDE.values(), ids=BESIDE.keys())
def test_what_stands_beside_layers(graph_of, nodes, constants, params):
    model = graph_of([("Conv", ["x", "w"], ["c"]), *nodes], {"w": np.ones((4, 3, 1, 1), np.float32), **constants},
                     x=(1, 3, 8, 8))
    assert count(model).params == 12 + params


def test_weights_in_constant_nodes_and_behind_identities_count_once(graph_of):
    weight = onnx.numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32))
    model = graph_of([("Constant", [], ["k"], {"value": weight}), ("Identity", ["k"], ["a"]),
                      ("Identity", ["k"], ["b"]), ("Conv", ["x", "a"], ["c"]), ("Conv", ["c", "b"], ["y"])])
    assert (count(model).params, count(model).macs) == (9, 2 * 64 * 9)


@pytest.mark.parametrize(("transposed", "shape"), [(1, (10, 192)), (0, (192, 10))])
def test_gemm(graph_of, transposed, shape):
    model = graph_of([("Flatten", ["x"], ["f"]), ("Gemm", ["f", "w", "b"], ["y"], {"transB": transposed})],
                     {"w": np.ones(shape, np.float32), "b": np.ones(10, np.float32)})
    counts = count(model)
    assert (counts.macs, counts.params) == (1920, 1930)
    assert macs_by_node(model) == {"y": 1920}


def test_scales_shapes_and_axes_are_no_parameters(graph_of):
    model = graph_of([("QuantizeLinear", ["x", "s", "z"], ["q"]), ("DequantizeLinear", ["q", "s", "z"], ["d"]),
                      ("DequantizeLinear", ["w", "s", "z"], ["wd"]), ("Conv", ["d", "wd"], ["c"]),
                      ("Mul", ["c", "scale"], ["m"]), ("Reshape", ["m", "shape"], ["y"])],
                     {"s": np.float32(0.1), "z": np.int8(0), "w": np.ones((4, 3, 3, 3), np.int8),
                      "scale": np.ones((4, 1, 1), np.float32), "shape": np.array([-1, 144])})
    counts = count(model)
    assert counts.params == 108 + 4
    assert counts.macs == counts.int8_macs == 6 * 6 * 108
    assert counts.int8_mac_share == 1.0


def test_int8_data_with_float_weights_is_not_int8(graph_of):
    model = graph_of([("QuantizeLinear", ["x", "s", "z"], ["q"]), ("DequantizeLinear", ["q", "s", "z"], ["d"]),
                      ("Conv", ["d", "w"], ["y"])],
                     {"s": np.float32(0.1), "z": np.int8(0), "w": np.ones((4, 3, 3, 3), np.float32)})
    assert count(model).int8_macs == 0


@pytest.mark.parametrize("x", [("batch", 3, "height", "width"), ("batch", 3, 8, "width")])
def test_dynamic_sizes_are_refused(graph_of, x):
    model = graph_of([("Conv", ["x", "w"], ["y"], {"name": "first"})], {"w": np.ones((4, 3, 3, 3), np.float32)}, x=x)
    with pytest.raises(ModelError, match=r"Conv node 'first': its height or width is dynamic"):
        count(model)


def test_unknown_shapes_are_refused(graph_of):
    model = graph_of([("Conv", ["x", "w"], ["y"])], {"w": np.ones((4, 3, 3, 3), np.float32)})
    model.opset_import.add(domain="elsewhere", version=1)
    model.graph.node.insert(0, helper.make_node("Foreign", ["x"], ["u"], domain="elsewhere"))
    model.graph.node[1].input[0] = "u"
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, None))
    with pytest.raises(ModelError, match=r"Conv node 'y': its (shape is unknown|height or width is dynamic)"):
        count(model)


def test_a_graph_without_linear_operators_counts_nothing(graph_of):
    counts = count(prepare(graph_of([("Relu", ["x"], ["y"])])))
    assert (counts.macs, counts.params, counts.int8_mac_share) == (0, 0, 0.0)
