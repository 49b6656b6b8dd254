"""Handmade Q/DQ graphs, and the answers of runtimes."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_se.graph.rewrites import sort_topologically

FLOATS = {np.float32: TensorProto.FLOAT, np.float16: TensorProto.FLOAT16}


class Qdq:
    """A graph that grows: `x` is the image of 3 x 8 x 8, `y` its result."""

    def __init__(self, half=False, opset=17):
        self.float, self.opset, self.nodes, self.constants = np.float16 if half else np.float32, opset, [], {}
        self.random = np.random.default_rng(0)

    def constant(self, name, value):
        self.constants[name] = np.asarray(value)
        return name

    def add(self, operator, inputs, output, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def pair(self, name, scale, point, kind=np.uint8, own=""):
        """A pair on `name`; its output."""
        own = own or name
        told = [self.constant(f"{own}_scale", self.float(scale))]
        if point is not None:
            told.append(self.constant(f"{own}_zero", kind(point)))
        self.add("QuantizeLinear", [name, *told], f"{own}_q")
        return self.add("DequantizeLinear", [f"{own}_q", *told], f"{own}_dq")

    def weights(self, name, values, scale, point=0, axis=0):
        """Constant integers behind a DequantizeLinear of one scale for each index of `axis`: the output channels."""
        values = np.asarray(values)
        told = [self.constant(name, values), self.constant(f"{name}_scale", np.asarray(scale, self.float)),
                self.constant(f"{name}_zero", np.full(np.shape(scale), point, values.dtype))]
        return self.add("DequantizeLinear", told, f"{name}_dq", axis=axis)

    def model(self, result, batch=1):
        """The whole file; `result` becomes `y`."""
        self.add("Identity", [result], "y")
        kind = FLOATS[self.float]
        graph = helper.make_graph(
            self.nodes, "handmade", [helper.make_tensor_value_info("x", kind, [batch, 3, 8, 8])],
            [helper.make_tensor_value_info("y", kind, None)],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()])
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)],
                                  ir_version=8 if self.opset < 19 else 10)
        sort_topologically(proto)
        proto = onnx.shape_inference.infer_shapes(proto)
        onnx.checker.check_model(proto, full_check=True)
        return proto


def layer(operator="Conv", *, kind=np.uint8, point=128, scale=0.02, step=0.01, integers=None, weights_point=0,
          bias="float", bias_scale=None, bias_value=None, relu=False, behind=(np.uint8, 0.05, 128), half=False,
          opset=17, attributes=None):
    """A quantized layer: its data of `kind`, its weights in steps of `step`, `bias` "float", "int32" or None, and
    `behind` the pair of its output (type, scale, zero point), None for none.
    """
    own = Qdq(half, opset)
    data = own.pair("x", scale, point, kind)
    if operator == "Gemm":
        data = own.pair(own.add("Flatten", [data], "flat"), scale, point, kind)
    shape = (8, 3, 3, 3) if operator == "Conv" else (8, 192)
    # Within seven bits: processors without VNNI add two products in 16 bits.
    integers = own.random.integers(-63, 64, shape).astype(np.int8) if integers is None else integers
    inputs = [data, own.weights("w", integers, np.broadcast_to(step, len(integers)), weights_point)]
    value = own.random.normal(size=len(integers)) * 2 if bias_value is None else np.asarray(bias_value)
    if bias == "float":
        inputs.append(own.constant("b", value.astype(own.float)))
    elif bias == "int32":
        steps = np.broadcast_to(scale * np.asarray(step) if bias_scale is None else bias_scale, len(integers))
        inputs.append(own.weights("b", np.round(value / steps).astype(np.int32), steps))
    told = attributes or ({"pads": [1, 1, 1, 1]} if operator == "Conv" else {"transB": 1})
    result = own.add(operator, inputs, "layer", **told)
    if relu:
        result = own.add("Relu", [result], "relu")
    if behind is not None:
        result = own.pair(result, behind[1], behind[2], behind[0])
    return own.model(result)


def product(shape, axis, kind=np.uint8, operator="MatMul", **attributes):
    """The image times a matrix of 64 rows, or times a stack of three, with scales along `axis` (None: one for all)."""
    own = Qdq()
    rows = {"Gemm": [3, 64], "MatMul": [1, 3, 64] if len(shape) < 3 else [1, 3, 1, 64]}[operator]
    flat = own.add("Reshape", ["x", own.constant("rows", np.array(rows))], "flat")
    data = own.pair(flat, 0.02, 0 if kind is np.int8 else 128, kind)
    steps = np.float32(0.01) if axis is None else np.logspace(-3, -1, shape[axis], dtype=np.float32)
    weights = own.weights("w", own.random.integers(-63, 64, shape).astype(np.int8), steps, axis=axis or 0)
    return own.model(own.pair(own.add(operator, [data, weights], "layer", **attributes), 0.3, 128))


def session(proto, optimized=True, without=(), saved=None):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if saved:
        options.optimized_model_filepath = str(saved)
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"],
                                        disabled_optimizers=list(without))


def run(proto, images, optimized=True, without=()):
    own = session(proto, optimized, without)
    kind = np.float16 if proto.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT16 else np.float32
    return own.run(None, {"x": images.astype(kind)})[0].astype(np.float64)


def decibels(right, found):
    return 10 * np.log10((right**2).sum() / max(((right - found) ** 2).sum(), 1e-12))


def in_openvino(proto, images, hint="f32"):
    """(answer, {operator: precisions in which it ran}, the type of its floats)"""
    openvino = pytest.importorskip("openvino", reason="openvino is not installed: pip install 'edge-se[openvino]'")
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(proto.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": hint})
    ran = {}
    for operation in compiled.get_runtime_model().get_ordered_ops():
        told = operation.get_rt_info()
        ran.setdefault(told["layerType"].astype(str), set()).add(told["runtimePrecision"].astype(str))
    return (np.asarray(compiled(images)[0], np.float64), ran,
            compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())


@pytest.fixture
def images():
    """One image of normal pixels."""
    return np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def of():
    """The functions of this file, which tests import nothing from."""
    class Functions:
        graph, layer, product, session, run, decibels, openvino = Qdq, *(staticmethod(own) for own in (
            layer, product, session, run, decibels, in_openvino))
    return Functions
