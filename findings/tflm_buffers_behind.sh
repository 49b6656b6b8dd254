#!/bin/sh
# TFLM reads weights that lie behind the flatbuffer as whatever it finds elsewhere, without an error.
#
# Version   tflite-micro 0.dev20261023182759, ai-edge-quantizer 0.10.0, ai-edge-litert 2.3.0
# Behaviour A .tflite file may keep a buffer's content behind the flatbuffer and say where (Buffer.offset, Buffer.size).
#           ai-edge-quantizer writes buffers of 1 KiB and more so as soon as they are 256 KiB together, and does not
#           say it. TFLM loads and runs such a file: each of these buffers has no content inside, and so its weights
#           are not those of the file. Nothing is raised or printed. LiteRT reads both forms alike.
# Output    as written: 2 buffers behind, LiteRT [-0.05, 1.85, -0.18, -0.14], TFLM equal False
#           inlined: 0 buffers behind, LiteRT [-0.05, 1.85, -0.18, -0.14], TFLM equal True
# Expected  An error, as for every operator and type that TFLM does not know; or that a small file, of which TFLM runs
#           many, does not change its form when a net grows past 256 KiB.
# What to do  Read the file with the schema's classes, put each content into Buffer.data, set offset and size to 0 and
#           pack it again (`inlined` below). Before flashing, look for a Buffer.offset above 1.
#
# Exits 0 while this is so, 1 when it has changed.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" tflite-micro==0.dev20261023182759 ai-edge-quantizer==0.10.0 \
    ai-edge-litert==2.3.0 numpy==2.4.6
PYTHONPATH=$folder python3 - <<'PY'
import sys

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_quantizer import quantizer, recipe
from tflite_micro.python.tflite_micro import runtime

CHANNELS = 512  # 512 x 512 weights in int8 are 256 KiB


def packed(model):
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def convolution(weights, bias):
    """One 1x1 convolution in float32, all of it inside of the flatbuffer."""
    buffers = [schema.BufferT()] + [schema.BufferT(data=np.frombuffer(value.tobytes(), np.uint8))
                                    for value in (weights, bias)]
    tensors = [schema.TensorT(name=name, shape=list(shape), type=schema.TensorType.FLOAT32, buffer=buffer)
               for name, shape, buffer in (("x", (1, 1, 1, CHANNELS), 0), ("w", weights.shape, 1), ("b", bias.shape, 2),
                                           ("y", (1, 1, 1, CHANNELS), 0))]
    layer = schema.OperatorT(opcodeIndex=0, inputs=[0, 1, 2], outputs=[3],
                             builtinOptionsType=schema.BuiltinOptions.Conv2DOptions,
                             builtinOptions=schema.Conv2DOptionsT(strideH=1, strideW=1, dilationHFactor=1,
                                                                  dilationWFactor=1))
    code = schema.OperatorCodeT(builtinCode=schema.BuiltinOperator.CONV_2D,
                                deprecatedBuiltinCode=schema.BuiltinOperator.CONV_2D)
    graph = schema.SubGraphT(tensors=tensors, inputs=[0], outputs=[3], operators=[layer])
    ends = [[schema.TensorMapT(name=name, tensorIndex=index)] for name, index in (("x", 0), ("y", 3))]
    signature = schema.SignatureDefT(signatureKey="serving_default", inputs=ends[0], outputs=ends[1])
    return packed(schema.ModelT(version=3, operatorCodes=[code], subgraphs=[graph], buffers=buffers,
                                signatureDefs=[signature]))


def behind(content):
    """How many buffers lie behind the flatbuffer."""
    return sum(buffer.offset > 1 for buffer in schema.ModelT.InitFromObj(schema.Model.GetRootAs(content)).buffers)


def inlined(content):
    """The same model with every buffer inside."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return packed(model)


def answers(content, x):
    """The quantized outputs of LiteRT's reference kernels and of TFLM, and the output's scale and zero point."""
    lite = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    lite.allocate_tensors()
    taken, given = lite.get_input_details()[0], lite.get_output_details()[0]
    scale, zero = taken["quantization"]
    integers = np.clip(np.round(x / scale) + zero, -128, 127).astype(np.int8)
    lite.set_tensor(taken["index"], integers)
    lite.invoke()
    micro = runtime.Interpreter.from_bytes(content, arena_size=1 << 22)
    micro.set_input(integers, 0)
    micro.invoke()
    return lite.get_tensor(given["index"]).ravel(), micro.get_output(0).ravel(), given["quantization"]


random = np.random.default_rng(0)
weights = random.standard_normal((CHANNELS, 1, 1, CHANNELS)).astype(np.float32) / 16
images = [{"x": random.standard_normal((1, 1, 1, CHANNELS)).astype(np.float32)} for _ in range(32)]
maker = quantizer.Quantizer(convolution(weights, np.arange(CHANNELS).astype(np.float32) / 100))
maker.load_quantization_recipe(recipe.static_wi8_ai8())
written = bytes(maker.quantize(maker.calibrate({"serving_default": images})).quantized_model)
found = []
for name, content in (("as written", written), ("inlined", inlined(written))):
    lite, micro, (scale, zero) = answers(content, images[0]["x"])
    shown = ((lite[:4].astype(np.float32) - zero) * scale).round(2).astype(float).round(2).tolist()
    found.append((behind(content), shown, bool(np.array_equal(lite, micro))))
    print(f"{name}: {found[-1][0]} buffers behind, LiteRT {shown}, TFLM equal {found[-1][2]}")
same = found == [(2, [-0.05, 1.85, -0.18, -0.14], False), (0, [-0.05, 1.85, -0.18, -0.14], True)]
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
