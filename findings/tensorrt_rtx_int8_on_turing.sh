#!/bin/sh
# Built for Turing, a strongly typed INT8 file has its convolutions in FP16, and nothing but a verbose log tells.
#
# Version   tensorrt-rtx 1.7.1.116 (builder; no GPU needed), onnx 1.23.2
# Behaviour A convolution between DequantizeLinear and the next operator is one INT8 layer for compute capability 8.6.
#           For 7.5, which has INT8 tensor cores and which the builder offers as a target, input and weights are
#           dequantized and the convolution runs in the float type of the file; a matrix product stays INT8. Neither an
#           error nor a warning comes with it: the one place that tells is the layer information, which the builder logs
#           at severity VERBOSE when profiling_verbosity is DETAILED.
# Output    for 8.6: convolution reads Int8, matrix product reads Int8, 0 warnings of precision
#           for 7.5: convolution reads Half, matrix product reads Int8, 0 warnings of precision
# Expected  INT8 as the strongly typed network says, or a refusal, as FP8 gets for 8.6.
# What to do  Read the layers of each engine before you believe that it is INT8. On Turing deploy FP16: the Q/DQ pairs
#           cost accuracy and time there and buy nothing.
#
# Exits 0 while this is so, 1 when it has changed.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" tensorrt-rtx==1.7.1.116 onnx==1.23.2 numpy==2.4.6
PYTHONPATH=$folder python3 - <<'PY'
import re
import sys

import numpy as np
import tensorrt_rtx as tensorrt
from onnx import TensorProto, checker, helper, numpy_helper

CHANNELS, CLASSES = 32, 16
random = np.random.default_rng(0)


class Logger(tensorrt.ILogger):
    def __init__(self):
        tensorrt.ILogger.__init__(self)
        self.layers, self.warnings = [], 0

    def log(self, severity, message):
        self.layers += [line for line in message.splitlines() if ", LayerType: " in line]
        self.warnings += severity <= tensorrt.ILogger.WARNING and "precision" in message.lower()


def quantized(name, shape):
    """An INT8 constant behind DequantizeLinear: (node, initializer)."""
    values = random.integers(-127, 128, shape).astype(np.int8)
    return (helper.make_node("DequantizeLinear", [name, "scale", "zero"], [f"{name}_float"]),
            numpy_helper.from_array(values, name))


def through_int8(tensor):
    """A Q/DQ pair."""
    return [helper.make_node("QuantizeLinear", [tensor, "scale", "zero"], [f"{tensor}_int8"]),
            helper.make_node("DequantizeLinear", [f"{tensor}_int8", "scale", "zero"], [f"{tensor}_again"])]


weights, kernel = quantized("kernel", (CHANNELS, CHANNELS, 3, 3))
columns, matrix = quantized("matrix", (CHANNELS, CLASSES))
nodes = [*through_int8("images"), weights,
         helper.make_node("Conv", ["images_again", "kernel_float"], ["maps"], name="convolution", pads=[1] * 4),
         helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]), helper.make_node("Flatten", ["pooled"], ["flat"]),
         *through_int8("flat"), columns,
         helper.make_node("MatMul", ["flat_again", "matrix_float"], ["logits"], name="product")]
model = helper.make_model(helper.make_graph(
    nodes, "q", [helper.make_tensor_value_info("images", TensorProto.FLOAT16, [8, CHANNELS, 16, 16])],
    [helper.make_tensor_value_info("logits", TensorProto.FLOAT16, [8, CLASSES])],
    [kernel, matrix, numpy_helper.from_array(np.float16(0.01), "scale"), numpy_helper.from_array(np.int8(0), "zero")]),
    opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
checker.check_model(model, full_check=True)


def types_for(capability):
    """What the layers of both products read, and how many warnings name a precision."""
    logger = Logger()
    builder = tensorrt.Builder(logger)
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, logger)
    assert parser.parse(model.SerializeToString()), parser.get_error(0).desc()
    config = builder.create_builder_config()
    config.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED
    config.num_compute_capabilities = 1
    config.set_compute_capability(capability, 0)
    assert builder.build_serialized_network(network, config) is not None
    found = []
    for name in ("convolution", "product"):
        line, = (line for line in logger.layers if line.startswith(f"Name: {name}_myl"))
        found.append(re.search(r"Inputs: \[.*?Datatype: (\w+)", line).group(1))
    return (*found, logger.warnings)


ampere, turing = types_for(tensorrt.ComputeCapability.SM86), types_for(tensorrt.ComputeCapability.SM75)
for name, found in (("8.6", ampere), ("7.5", turing)):
    print("for {}: convolution reads {}, matrix product reads {}, {} warnings of precision".format(name, *found))
same = ampere == ("Int8", "Int8", 0) and turing == ("Half", "Int8", 0)
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
