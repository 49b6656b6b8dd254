"""Files as exporters of many years wrote them: each spelling, one file, from disk to an INT8 graph that agrees."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_se.core.errors import ModelError
from edge_se.data.splits import ImageSet
from edge_se.graph.counting import count
from edge_se.graph.source import SourceOptions, load_source
from edge_se.quantization.excitations import find_excitations
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (16, 3, 16, 24), dtype=np.uint8)


def normal(*shape):
    return RANDOM.standard_normal(shape, np.float32) / 2


CONSTANTS = {"w": normal(8, 3, 3, 3), "reduce": normal(4, 8, 1, 1), "expand": normal(8, 4, 1, 1), "head": normal(8, 5),
             "bias": normal(5)}
CONV = ("Conv", ["x", "w"], ["c"], {"pads": [1, 1, 1, 1]})
SE = [("GlobalAveragePool", ["u"], ["s"]), ("Conv", ["s", "reduce"], ["r"]), ("Relu", ["r"], ["r1"]),
      ("Conv", ["r1", "expand"], ["e"]), ("Sigmoid", ["e"], ["g"]), ("Mul", ["u", "g"], ["v"])]
HEAD = [("GlobalAveragePool", ["v"], ["p"]), ("Flatten", ["p"], ["f"]), ("Gemm", ["f", "head", "bias"], ["y"])]
NORM = {"scale": np.abs(normal(8)) + 1, "shift": normal(8), "mean": normal(8), "var": np.abs(normal(8)) + 0.5}
PLAIN = [CONV, ("Relu", ["c"], ["u"]), *SE, *HEAD]


def constant(name):
    return ("Constant", [], [name], {"value": numpy_helper.from_array(CONSTANTS[name], name)})


def scalar(name, value, kind=np.float32):
    return ("Constant", [], [name], {"value": numpy_helper.from_array(np.array(value, kind))})


SPELLINGS = {  # nodes, constants beyond the usual ones
    "plain": (PLAIN, {}),
    "constant nodes": ([*map(constant, CONSTANTS), *PLAIN], {}),
    "identity chains": ([("Identity", ["w"], ["w1"]), ("Identity", ["w1"], ["w2"]), ("Identity", ["x"], ["x1"]),
                         ("Conv", ["x1", "w2"], ["c"], {"pads": [1, 1, 1, 1]}), ("Relu", ["c"], ["u"]), *SE,
                         *HEAD[:2], ("Identity", ["f"], ["f1"]), ("Identity", ["f1"], ["f2"]),
                         ("Gemm", ["f2", "head", "bias"], ["z"]), ("Identity", ["z"], ["y"])], {}),
    "batch norm": ([CONV, ("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["n"]),
                    ("Relu", ["n"], ["u"]), *SE, *HEAD], NORM),
    "batch norm as Mul and Add": ([CONV, ("Mul", ["c", "scale"], ["n"]), ("Add", ["n", "shift"], ["m"]),
                                   ("Relu", ["m"], ["u"]), *SE, *HEAD],
                                  {name: NORM[name].reshape(8, 1, 1) for name in ("scale", "shift")}),
    "batch norm before the convolution": ([("BatchNormalization", ["x", "s3", "b3", "m3", "v3"], ["n"]),
                                           ("Conv", ["n", "w"], ["c"], {"pads": [1, 1, 1, 1]}), *PLAIN[1:]],
                                          {"s3": np.abs(normal(3)) + 1, "b3": normal(3), "m3": normal(3),
                                           "v3": np.abs(normal(3)) + 1}),
    "casts": ([("Cast", ["x"], ["x1"], {"to": TensorProto.FLOAT}), ("Conv", ["x1", "w"], ["c"],
                                                                   {"pads": [1, 1, 1, 1]}), *PLAIN[1:-1],
               ("Gemm", ["f", "head", "bias"], ["z"]), ("Cast", ["z"], ["d"], {"to": TensorProto.DOUBLE}),
               ("Cast", ["d"], ["y"], {"to": TensorProto.FLOAT})], {}),
    "hard swish by clipping": ([CONV, scalar("three", 3), scalar("zero", 0), scalar("six", 6),
                                ("Add", ["c", "three"], ["a"]), ("Clip", ["a", "zero", "six"], ["b"]),
                                ("Mul", ["c", "b"], ["d"]), ("Div", ["d", "six"], ["u"]), *SE, *HEAD], {}),
    "hard swish by a hard sigmoid": ([CONV, ("HardSigmoid", ["c"], ["h"], {"alpha": 1 / 6, "beta": 0.5}),
                                      ("Mul", ["c", "h"], ["u"]), *SE, *HEAD], {}),
    "softmax": ([*PLAIN[:-1], ("Gemm", ["f", "head", "bias"], ["z"]), ("Softmax", ["z"], ["y"], {"axis": 1})], {}),
    "log softmax": ([*PLAIN[:-1], ("Gemm", ["f", "head", "bias"], ["z"]), ("LogSoftmax", ["z"], ["y"], {"axis": -1})],
                    {}),
    "flattened by its own shape": ([*PLAIN[:-2], ("Shape", ["p"], ["sh"]), scalar("i0", 0, np.int64),
                                    scalar("minus", [-1], np.int64), scalar("axis", [0], np.int64),
                                    ("Gather", ["sh", "i0"], ["n"]), ("Unsqueeze", ["n", "axis"], ["n1"]),
                                    ("Concat", ["n1", "minus"], ["shape"], {"axis": 0}),
                                    ("Reshape", ["p", "shape"], ["f"]), HEAD[-1]], {}),
    "sizes cast and divided": ([*PLAIN[:-2], ("Shape", ["p"], ["sh"]), ("Cast", ["sh"], ["sf"],
                                                                       {"to": TensorProto.FLOAT}),
                                scalar("i1", [1], np.int64), ("Gather", ["sf", "i1"], ["chf"]),
                                ("Cast", ["chf"], ["ch"], {"to": TensorProto.INT64}),
                                scalar("minus", [-1], np.int64),
                                ("Concat", ["minus", "ch"], ["shape"], {"axis": 0}),
                                ("Reshape", ["p", "shape"], ["f"]), HEAD[-1]], {}),
    "a bias that is added": ([*PLAIN[:-1], ("MatMul", ["f", "head"], ["z"]), ("Add", ["z", "bias"], ["y"])], {}),
    "a bias of a convolution that is added": ([CONV, ("Add", ["c", "shift"], ["n"]), ("Relu", ["n"], ["u"]), *SE,
                                               *HEAD], {"shift": NORM["shift"].reshape(1, 8, 1, 1)}),
    "dropout": ([*PLAIN[:-1], ("Dropout", ["f"], ["d"]), ("Gemm", ["d", "head", "bias"], ["y"])], {}),
}


def made(nodes, constants, height=16, width=24, listed=False, batch="n"):
    kept = {name: value for name, value in (CONSTANTS | constants).items()
            if not any(node[0] == "Constant" and node[2] == [name] for node in nodes)}
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, (batch, 3, height, width))
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, outputs, **(rest[0] if rest else {}))
         for kind, inputs, outputs, *rest in nodes],
        "found", [image], [helper.make_tensor_value_info("y", TensorProto.FLOAT, (batch, 5))],
        [numpy_helper.from_array(value, name) for name, value in kept.items()])
    if listed:
        graph.input.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)
                           for name, value in kept.items())
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


def quantized(source):
    """INT8 for `arm`, which leaves no narrow layer in float, and the images as the model sees them."""
    rules = TARGETS["arm"]
    images = ImageSet(name="noise", split="calibration", pixels=PIXELS, labels=None,
                      preprocessing=source.metadata.preprocessing)
    statistics = collect(source.model, images)
    model = quantize(source.model, statistics.ranges("minmax", rules.activations), rules,
                     place(source.model.proto, rules, "all"))
    return model, next(images.batches(len(images)))


def sqnr(exact, noisy):
    return 10 * np.log10((exact**2).mean() / ((exact - noisy)**2).mean())


@pytest.mark.parametrize("kind", SPELLINGS)
def test_each_spelling_is_one_net(tmp_path, run_onnx, kind):
    """Its excitation is found, its MACs are those of the plain file, and its INT8 graph says what the file says."""
    proto, path = made(*SPELLINGS[kind]), tmp_path / "m.onnx"
    onnx.save(proto, path)
    source = load_source(str(path), None)
    model, batch = quantized(source)
    expected = run_onnx(proto, batch)[0]
    np.testing.assert_allclose(run_onnx(source.model, batch)[0], expected, rtol=1e-3, atol=1e-4)
    assert len(find_excitations(source.model.proto)) == 1
    assert count(source.model.proto).macs == 16 * 24 * 8 * 27 + 2 * 32 + 40
    assert count(model.proto).int8_mac_share == 1
    assert sqnr(expected, run_onnx(model, batch)[0]) > 20


def test_constants_that_are_inputs_too_and_weights_beside_the_file(tmp_path, run_onnx):
    proto = made(PLAIN, {}, listed=True)
    onnx.save_model(proto, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    source = load_source(str(tmp_path / "m.onnx"), None)
    assert [value.name for value in source.model.proto.graph.input] == ["x"]
    model, batch = quantized(source)
    assert sqnr(run_onnx(made(PLAIN, {}), batch)[0], run_onnx(model, batch)[0]) > 20


@pytest.mark.parametrize(("height", "width"), [("h", "w"), (16, "w"), ("h", 24)])
@pytest.mark.parametrize("kind", ["plain", "sizes cast and divided", "batch norm"])
def test_a_size_that_is_dynamic_is_the_users(tmp_path, run_onnx, kind, height, width):
    proto, path = made(*SPELLINGS[kind], height=height, width=width), tmp_path / "m.onnx"
    onnx.save(proto, path)
    with pytest.raises(ModelError, match="--input-size N, or --input-size HEIGHTxWIDTH"):
        load_source(str(path), None)
    source = load_source(str(path), None, SourceOptions(input_size=(16, 24)))
    assert source.model.input_shape == (None, 3, 16, 24)
    assert source.metadata.preprocessing.size == (16, 24)
    model, batch = quantized(source)
    assert sqnr(run_onnx(proto, batch)[0], run_onnx(model, batch)[0]) > 20
    if height == 16:
        with pytest.raises(ModelError, match=r"--input-size 32x24: the file fixes its height at 16; give 16x24"):
            load_source(str(path), None, SourceOptions(input_size=(32, 24)))


@pytest.mark.parametrize("sizes", [(-1, 16, 24), (-1, -1, -1), ("n", -1, "w"), ("n", 0, 0), (0, 16, 24)], ids=str)
@pytest.mark.parametrize("opset", [11, 13])
def test_sizes_below_one_are_dynamic(tmp_path, run_onnx, opset, sizes):
    """Paddle's exporter writes -1 for what is not known, others 0."""
    batch, height, width = sizes
    nodes = [constant("w"), *PLAIN[:-1], ("Gemm", ["f", "head", "bias"], ["z"]), ("Softmax", ["z"], ["y"], {"axis": 1})]
    proto, path = made(nodes, {}, height, width, batch=batch), tmp_path / "m.onnx"
    proto.opset_import[0].version = opset
    onnx.save(proto, path)
    source = load_source(str(path), None, SourceOptions(input_size=None if height == 16 else (16, 24)))
    assert source.model.input_shape == (None, 3, 16, 24)
    model, images = quantized(source)
    expected = run_onnx(made(nodes, {}), images)[0]
    np.testing.assert_allclose(run_onnx(source.model, images)[0], expected, rtol=1e-3, atol=1e-4)
    assert sqnr(expected, run_onnx(model, images)[0]) > 20


def test_an_old_opset_of_dynamic_size_is_raised_at_the_users(tmp_path, run_onnx):
    """onnx's converter is checked by running both files, which needs a size."""
    nodes = [CONV, ("Relu", ["c"], ["u"]), *SE, ("MaxPool", ["v"], ["m"], {"kernel_shape": [8, 8], "strides": [8, 8]}),
             ("GlobalAveragePool", ["m"], ["p"]), *HEAD[1:]]
    proto, path = made(nodes, {}, height="h", width="w"), tmp_path / "m.onnx"
    proto.opset_import[0].version = 11
    onnx.save(proto, path)
    source = load_source(str(path), None, SourceOptions(input_size=(16, 24)))
    batch = RANDOM.standard_normal((2, 3, 16, 24)).astype(np.float32)
    np.testing.assert_allclose(run_onnx(source.model, batch)[0], run_onnx(proto, batch)[0], rtol=1e-3, atol=1e-4)
    assert source.model.opset == 13 and source.metadata.params == sum(value.size for value in CONSTANTS.values())


def test_a_fixed_size_is_not_changed(tmp_path):
    onnx.save(made(PLAIN, {}), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="--input-size 32: the file fixes its size at 16x24"):
        load_source(str(tmp_path / "m.onnx"), None, SourceOptions(input_size=32))
