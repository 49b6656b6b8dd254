#!/bin/sh
# TFLM's int8 sigmoid answers 0 or 1 instead of 0.5 where its input has tiny steps, as that of an SE block that is off.
#
# Version   tflite-micro 0.dev20261023182759, ai-edge-litert 2.3.0
# Behaviour LOGISTIC in int8 is right down to an input scale of 2^-28. From 2^-29 on every integer up to the zero point
#           gives 0 and every one above gives 255/256, though all of them stand for numbers next to 0. LiteRT's
#           reference kernel, whose table of 256 answers is made in float, gives 0.5. Nothing is raised. Such scales
#           are written: ai-edge-quantizer 0.10 gives a tensor that is always 0 the scale 3.9e-12, and the last layer
#           of an SE block that was never trained, or was pruned to 0, is one: its factor 0.5 becomes 0, and so does
#           every channel that it scales.
# Output    2^-28: LiteRT [0.5], TFLM [0.5]
#           2^-29: LiteRT [0.5], TFLM [0.0, 0.996]
#           3.9e-12: LiteRT [0.5], TFLM [0.0, 0.996]
# Expected  0.5, as in LiteRT's reference kernels, to which TFLM's are bit-equal otherwise; or an error.
# What to do  Give a tensor that is always 0 the scale 1, or fold an excitation that is constant. Compare TFLM's outputs
#           with the reference kernels' before flashing: sizes and the list of operators look as they should.
#
# Exits 0 while this is so, 1 when it has changed.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" tflite-micro==0.dev20261023182759 ai-edge-litert==2.3.0 numpy==2.4.6
PYTHONPATH=$folder python3 - <<'PY'
import sys

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_micro.python.tflite_micro import runtime

ALL = np.arange(-128, 128).astype(np.int8)[None]


def sigmoid(scale):
    """One LOGISTIC from int8 with `scale` to int8 with the scale and zero point that the format asks for."""
    tensors = [schema.TensorT(name=name, shape=list(ALL.shape), type=schema.TensorType.INT8, buffer=0,
                              quantization=schema.QuantizationParametersT(scale=[steps], zeroPoint=[zero]))
               for name, steps, zero in (("x", scale, 0), ("y", 1 / 256, -128))]
    code = schema.OperatorCodeT(builtinCode=schema.BuiltinOperator.LOGISTIC,
                                deprecatedBuiltinCode=schema.BuiltinOperator.LOGISTIC, version=2)
    graph = schema.SubGraphT(tensors=tensors, inputs=[0], outputs=[1],
                             operators=[schema.OperatorT(opcodeIndex=0, inputs=[0], outputs=[1])])
    builder = flatbuffers.Builder(1024)
    model = schema.ModelT(version=3, operatorCodes=[code], subgraphs=[graph], buffers=[schema.BufferT()])
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def told(integers):
    """The different answers in float."""
    return np.unique(((integers.astype(np.float64) + 128) / 256).round(3)).tolist()


found = []
for name, scale in (("2^-28", 2.0**-28), ("2^-29", 2.0**-29), ("3.9e-12", 3.9215684e-12)):
    content = sigmoid(scale)
    lite = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    lite.allocate_tensors()
    lite.set_tensor(0, ALL)
    lite.invoke()
    micro = runtime.Interpreter.from_bytes(content, arena_size=1 << 20)
    micro.set_input(ALL, 0)
    micro.invoke()
    found.append((told(lite.get_tensor(1)), told(micro.get_output(0))))
    print(f"{name}: LiteRT {found[-1][0]}, TFLM {found[-1][1]}")
same = found == [([0.5], [0.5]), ([0.5], [0.0, 0.996]), ([0.5], [0.0, 0.996])]
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
