#!/bin/sh
# TensorRT's parser reads a QuantizeLinear without zero point as INT8, where ONNX says uint8.
#
# Version   tensorrt-rtx 1.7.1.116 (parser; no GPU needed), onnxruntime 1.31.1, onnx 1.23.2
# Behaviour ONNX: without zero point, QuantizeLinear gives uint8 (0 to 255). The parser makes an INT8 layer of it (-128
#           to 127), without a warning: the upper half of a range that begins at zero is clipped. A uint8 zero point of
#           0 that is written out becomes INT8, too, but with a warning that names a flag for it. With int8 both agree.
# Output    int8 zero point: onnxruntime int8, parser INT8, 0 warnings; largest output 2.54 of 5.00 in onnxruntime
#           uint8 zero point: onnxruntime uint8, parser INT8, 2 warnings; largest output 5.00 of 5.00 in onnxruntime
#           no zero point: onnxruntime uint8, parser INT8, 0 warnings; largest output 5.00 of 5.00 in onnxruntime
# Expected  A refusal, or at least the warning of the written-out form.
# What to do  Write an int8 zero point of 0 at every Q and DQ that is for TensorRT, and calibrate to +-127 steps. An
#           output after ReLU loses one bit that way; clipping half of it loses the net.
#
# Exits 0 while this is so, 1 when it has changed.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" tensorrt-rtx==1.7.1.116 onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
PYTHONPATH=$folder python3 - <<'PY'
import sys

import numpy as np
import onnx
import onnxruntime
import tensorrt_rtx as tensorrt
from onnx import TensorProto, checker, helper, numpy_helper

LARGEST, SCALE = 5.0, 0.02
images = np.linspace(0, LARGEST, 64, dtype=np.float32).reshape(1, 1, 8, 8)


class Logger(tensorrt.ILogger):
    def __init__(self):
        tensorrt.ILogger.__init__(self)
        self.warnings = []

    def log(self, severity, message):
        if severity == tensorrt.ILogger.Severity.WARNING and "ZERO_POINT" in message.upper():
            self.warnings.append(message)


def model(zero_point):
    """A 1 x 1 convolution with weight 1 behind a Q/DQ pair; `zero_point` None leaves it out."""
    numbers = {"s": np.float32(SCALE), "w": np.ones((1, 1, 1, 1), np.float32)}
    if zero_point is not None:
        numbers["z"] = zero_point
    pair = ["s", *(["z"] if zero_point is not None else [])]
    node, float32 = helper.make_node, TensorProto.FLOAT
    graph = helper.make_graph(
        [node("QuantizeLinear", ["x", *pair], ["q"]), node("DequantizeLinear", ["q", *pair], ["d"]),
         node("Conv", ["d", "w"], ["y"])],
        "layer", [helper.make_tensor_value_info("x", float32, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("y", float32, [1, 1, 8, 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    checker.check_model(made, full_check=True)
    return made


def of_onnxruntime(made):
    """Type of the quantized tensor, largest output."""
    kinds = {item.name: item.type.tensor_type.elem_type
             for item in onnx.shape_inference.infer_shapes(made).graph.value_info}
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    kind = np.dtype(helper.tensor_dtype_to_np_dtype(kinds["q"])).name
    return kind, float(session.run(None, {"x": images})[0].max())


logger = Logger()
builder = tensorrt.Builder(logger)
print("tensorrt-rtx", tensorrt.__version__, "onnxruntime", onnxruntime.__version__)
same, found = tensorrt.__version__ == "1.7.1.116", []
for label, zero_point in (("int8 zero point", np.int8(0)), ("uint8 zero point", np.uint8(0)), ("no zero point", None)):
    made, logger.warnings = model(zero_point), []
    network = builder.create_network()
    same = tensorrt.OnnxParser(network, logger).parse(made.SerializeToString()) and same
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    parsed = [layer.get_output(0).dtype.name for layer in layers if layer.type == tensorrt.LayerType.QUANTIZE]
    kind, largest = of_onnxruntime(made)
    print(f"{label}: onnxruntime {kind}, parser {parsed[0]}, {len(logger.warnings)} warnings; largest output "
          f"{largest:.2f} of {LARGEST:.2f} in onnxruntime")
    found.append((kind, parsed, bool(logger.warnings), round(largest, 2)))
same = same and found == [("int8", ["INT8"], False, 2.54), ("uint8", ["INT8"], True, 5.0),
                          ("uint8", ["INT8"], False, 5.0)]
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
