"""Old and half-precision files, functions and constant control flow are read as the float32 file that they are."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, version_converter

from edge_se.core.errors import ModelError
from edge_se.graph import upgrading
from edge_se.graph.foreign import normalised
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.upgrading import with_full_floats

RANDOM = np.random.default_rng(0)
CONSTANTS = {"w": RANDOM.standard_normal((4, 3, 3, 3), np.float32), "f": RANDOM.standard_normal((4, 5), np.float32),
             "b": RANDOM.standard_normal(5, np.float32)}
NODES = [("Conv", ["x", "w"], ["c"], {"pads": [1] * 4}), ("Relu", ["c"], ["r"]),
         ("GlobalAveragePool", ["r"], ["p"]), ("Flatten", ["p"], ["t"]), ("Gemm", ["t", "f", "b"], ["y"])]
IMAGES = RANDOM.standard_normal((2, 3, 8, 8), np.float32)


@pytest.fixture
def plain(graph_of):
    model = graph_of(NODES, CONSTANTS, opset=13)
    del model.graph.value_info[:]
    return model


@pytest.fixture
def read(tmp_path):
    return lambda proto: normalised(OnnxModel.of(proto), tmp_path / "m.onnx")


@pytest.mark.parametrize("ir", [3, 4, 8])
@pytest.mark.parametrize("listed", [True, False])
def test_any_ir_version_is_read(plain, read, run_onnx, ir, listed):
    """IR 3 wants constants among the inputs; some files of IR 3 leave them out all the same."""
    expected = run_onnx(plain, IMAGES)[0]
    plain.ir_version = ir
    if listed:
        plain.graph.input.extend(helper.make_tensor_value_info(constant.name, constant.data_type, constant.dims)
                                 for constant in plain.graph.initializer)
    proto = read(plain)
    assert [value.name for value in proto.graph.input] == ["x"]
    np.testing.assert_allclose(run_onnx(proto, IMAGES)[0], expected, rtol=1e-4, atol=1e-5)


def of_opset(opset):
    """A net of operators that changed since: Clip's bounds, Squeeze's axes, Softmax over all that follows, Dropout."""
    constants = dict(CONSTANTS)
    nodes = [*NODES[:1], ("Clip", ["c", "low", "high"], ["r"]) if opset >= 11 else
             ("Clip", ["c"], ["r"], {"min": 0.0, "max": 2.0}), ("Dropout", ["r"], ["d"]),
             ("GlobalAveragePool", ["d"], ["p"]), ("Squeeze", ["p"], ["t"], {"axes": [2, 3]}),
             ("Gemm", ["t", "f", "b"], ["g"]), ("Softmax", ["g"], ["y"], {"axis": 1})]
    if opset >= 11:
        constants |= {"low": np.float32(0), "high": np.float32(2)}
    made = [helper.make_node(kind, inputs, outputs, **(rest[0] if rest else {}))
            for kind, inputs, outputs, *rest in nodes]
    graph = helper.make_graph(
        made, "old", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 5))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3 if opset < 9 else 4)


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 12])
def test_an_old_opset_is_raised(read, run_onnx, opset):
    old = of_opset(opset)
    if old.ir_version == 3:
        old.graph.input.extend(helper.make_tensor_value_info(constant.name, constant.data_type, constant.dims)
                               for constant in old.graph.initializer)
    proto = read(old)
    assert proto.opset_import[0].version == 13
    np.testing.assert_allclose(run_onnx(proto, IMAGES)[0], run_onnx(old, IMAGES)[0], rtol=1e-4, atol=1e-5)


def test_an_opset_that_is_raised_to_other_numbers_is_refused(read, monkeypatch):
    def wrong(model, version):
        raised = CONVERT(model, version)
        weight = next(tensor for tensor in raised.graph.initializer if tensor.name == "f")
        weight.CopyFrom(numpy_helper.from_array(-CONSTANTS["f"], "f"))
        return raised

    CONVERT = version_converter.convert_version
    monkeypatch.setattr(upgrading.version_converter, "convert_version", wrong)
    with pytest.raises(ModelError, match="changes what it computes on the way from opset 11 to 13; export it with"):
        read(of_opset(11))


def test_an_opset_without_adapters_is_refused(read, monkeypatch):
    def none(model, version):
        raise RuntimeError("Unsupported conversion")

    monkeypatch.setattr(upgrading.version_converter, "convert_version", none)
    with pytest.raises(ModelError, match=r"onnx cannot raise opset 9 to 13 \(Unsupported conversion\)"):
        read(of_opset(9))


def halved(plain, kind, *, everything):
    """The weights as FP16 or BF16: with all activations and the input, or behind a Cast each, as storage alone."""
    for constant in list(plain.graph.initializer):
        value = numpy_helper.to_array(constant)
        half = helper.make_tensor(constant.name if everything else f"{constant.name}_half", kind, value.shape,
                                  value.flatten())
        plain.graph.initializer.remove(constant)
        plain.graph.initializer.append(half)
        if not everything:
            plain.graph.node.insert(0, helper.make_node("Cast", [half.name], [constant.name], to=TensorProto.FLOAT))
    if everything:
        for value in (*plain.graph.input, *plain.graph.output):
            value.type.tensor_type.elem_type = kind
    return plain


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16], ids=["fp16", "bf16"])
@pytest.mark.parametrize("everything", [True, False])
def test_halves_are_cast_up(plain, read, run_onnx, kind, everything):
    expected = run_onnx(plain, IMAGES)[0]
    proto = read(halved(plain, kind, everything=everything))
    assert [node.op_type for node in proto.graph.node] == ["Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]
    assert proto.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert {constant.data_type for constant in proto.graph.initializer} == {TensorProto.FLOAT}
    assert np.abs(run_onnx(proto, IMAGES)[0] - expected).max() < 0.02 * np.abs(expected).max()


def test_a_graph_that_was_converted_to_half_with_float_inputs_is_cast_up(plain, read, run_onnx):
    from onnxruntime.transformers.float16 import convert_float_to_float16

    expected = run_onnx(plain, IMAGES)[0]
    proto = read(convert_float_to_float16(plain, keep_io_types=True))
    assert [node.op_type for node in proto.graph.node] == ["Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]
    assert np.abs(run_onnx(proto, IMAGES)[0] - expected).max() < 0.02 * np.abs(expected).max()


def test_halves_inside_of_nodes_and_bodies_are_cast_up(graph_of):
    half = numpy_helper.from_array(np.ones(3, np.float16), "k")
    body = helper.make_graph([helper.make_node("Constant", [], ["o"], value=half)], "body", [],
                             [helper.make_tensor_value_info("o", TensorProto.FLOAT16, (3,))])
    model = graph_of([("Relu", ["x"], ["y"])], {"yes": np.array(True)})
    model.graph.node.append(helper.make_node("If", ["yes"], ["z"], then_branch=body, else_branch=body))
    assert with_full_floats(model)
    assert b"\n\x01\x03\x10\n" not in model.SerializeToString()  # dims 3, type 10
    assert not with_full_floats(model)


def test_a_float_graph_is_left_alone(plain):
    before = plain.SerializeToString(deterministic=True)
    assert upgrading.upgraded(plain, "m.onnx").SerializeToString(deterministic=True) == before


def with_if(plain, condition):
    """The flattening as a squeeze in one branch of an If, as torch writes a `squeeze` of unknown sizes."""
    then = helper.make_graph([helper.make_node("Squeeze", ["p", "axes"], ["s"])], "then", [],
                             [helper.make_tensor_value_info("s", TensorProto.FLOAT, ("n", 4))])
    other = helper.make_graph([helper.make_node("Identity", ["p"], ["i"])], "else", [],
                              [helper.make_tensor_value_info("i", TensorProto.FLOAT, None)])
    nodes = [helper.make_node(kind, inputs, outputs, **attributes) for kind, inputs, outputs, attributes in condition]
    plain.graph.initializer.extend([numpy_helper.from_array(np.array([2, 3]), "axes"),
                                    numpy_helper.from_array(np.array([1]), "one"),
                                    numpy_helper.from_array(np.array([0.0], np.float32), "zero")])
    flatten = next(index for index, node in enumerate(plain.graph.node) if node.op_type == "Flatten")
    del plain.graph.node[flatten]
    for node in reversed([*nodes, helper.make_node("If", ["yes"], ["t"], then_branch=then, else_branch=other)]):
        plain.graph.node.insert(flatten, node)
    return plain


SIZE_IS_ONE = {
    "of a shape": [("Shape", ["p"], ["h"], {"start": 2, "end": 3}), ("Equal", ["h", "one"], ["yes"], {})],
    "of a gathered size": [("Shape", ["p"], ["s4"], {}), ("Gather", ["s4", "two"], ["h"], {}),
                           ("Equal", ["h", "one"], ["yes"], {})],
    "of a constant": [("Equal", ["one", "one"], ["yes"], {})],
}


@pytest.mark.parametrize("condition", SIZE_IS_ONE.values(), ids=SIZE_IS_ONE.keys())
def test_an_if_with_a_constant_condition_is_folded(graph_of, read, run_onnx, condition):
    plain = graph_of(NODES, CONSTANTS | {"two": np.array([2])}, opset=15)
    expected = run_onnx(plain, IMAGES)[0]
    del plain.graph.value_info[:]
    proto = read(with_if(plain, condition))
    assert "If" not in [node.op_type for node in proto.graph.node]
    np.testing.assert_allclose(run_onnx(proto, IMAGES)[0], expected, rtol=1e-4, atol=1e-5)


def test_an_if_on_the_image_is_refused_by_name(plain, read):
    condition = [("ReduceMax", ["p"], ["m"], {"keepdims": 0}), ("Greater", ["m", "zero"], ["yes"], {})]
    with pytest.raises(ModelError, match="If node 't': control flow that depends on the image"):
        read(with_if(plain, condition))


@pytest.mark.parametrize("nested", [False, True])
def test_local_functions_are_inlined(plain, read, run_onnx, nested):
    """As torch's exporter keeps modules; a function may call another."""
    expected = run_onnx(plain, IMAGES)[0]
    standard, local = helper.make_opsetid("", 13), helper.make_opsetid("local", 1)
    functions = [helper.make_function("local", "ReluPool", ["a"], ["b"], [
        helper.make_node("Relu", ["a"], ["c"]), helper.make_node("GlobalAveragePool", ["c"], ["b"])], [standard])]
    if nested:
        functions.append(helper.make_function("local", "Outer", ["a"], ["b"], [
            helper.make_node("ReluPool", ["a"], ["b"], domain="local")], [standard, local]))
    call = helper.make_node("Outer" if nested else "ReluPool", ["c"], ["p"], domain="local")
    del plain.graph.node[1:3]
    plain.graph.node.insert(1, call)
    plain.functions.extend(functions)
    plain.opset_import.append(local)
    proto = read(plain)
    assert not proto.functions and {entry.domain for entry in proto.opset_import} == {""}
    np.testing.assert_allclose(run_onnx(proto, IMAGES)[0], expected, rtol=1e-4, atol=1e-5)


def test_a_weight_that_the_image_makes_is_refused(graph_of, read):
    model = graph_of([("ReduceMean", ["x"], ["m"], {"axes": [0, 2, 3], "keepdims": 1}),
                      ("Concat", ["m", "m"], ["w"], {"axis": 0}), ("Conv", ["x", "w"], ["c"]),
                      ("GlobalAveragePool", ["c"], ["p"]), ("Flatten", ["p"], ["y"])], x=(1, 3, 8, 8))
    with pytest.raises(ModelError, match="Conv node 'c': its weight is computed from the image"):
        read(model)


def test_onnx_reads_what_was_raised(read):
    onnx.checker.check_model(read(of_opset(9)), full_check=True)
