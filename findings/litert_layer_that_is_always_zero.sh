#!/bin/sh
# A static INT8 file of ai-edge-quantizer with a layer that is zero on every calibration image does not load in LiteRT.
#
# Version   ai-edge-quantizer 0.10.0, ai-edge-litert 2.3.0
# Behaviour A ReLU that no calibration image opens makes zeros alone, as happens inside squeeze-and-excitation blocks.
#           The recipe static_wi8_ai8 gives its output a scale of almost nothing. The layer then multiplies its sums by
#           (input scale x weight scale / output scale), far above what XNNPACK takes: 255 loads, 257 does not. The file
#           is written, and LiteRT with XNNPACK, its default, refuses to load the whole of it. Its own kernels load it.
# Output    a ReLU that opens: output scale 1.5e-02, factor 9.4e-03; XNNPACK: loads; own kernels: loads
#           a ReLU that never opens: output scale 3.9e-12, factor 3.6e+07; XNNPACK: failed to create XNNPACK runtime ...
#           failed to prepare.; own kernels: loads
#           the same with a range of 1: output scale 3.9e-03, factor 3.6e-02; XNNPACK: loads; own kernels: loads
# Expected  A scale that a layer can be computed with, since the values are known: zeros. Or a word of the quantizer.
# What to do  Between `calibrate` and `quantize`, give each tensor whose least and largest value are 0 a largest value of 1
#           (`with_ranges` below): what reads it is then quantized for that. Load each file with XNNPACK before it is
#           shipped.
#
# Exits 0 while this is so, 1 when it has changed.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" ai-edge-quantizer==0.10.0 ai-edge-litert==2.3.0 numpy==2.4.6
PYTHONPATH=$folder python3 - <<'PY' 2> "$folder/stderr" || { cat "$folder/stderr" >&2; exit 1; }
import sys

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_quantizer import quantizer, recipe

CHANNELS = 8
RELU = schema.ActivationFunctionType.RELU


def two_layers(shift):
    """x -> 1x1 convolution, bias `shift`, ReLU -> 1x1 convolution; float32, all inside of the flatbuffer."""
    random = np.random.default_rng(0)
    weights = [random.standard_normal((CHANNELS, 1, 1, CHANNELS)).astype(np.float32) for _ in range(2)]
    biases = [np.full(CHANNELS, value, np.float32) for value in (shift, 0.5)]
    buffers = [schema.BufferT()] + [schema.BufferT(data=np.frombuffer(value.tobytes(), np.uint8))
                                    for value in (weights[0], biases[0], weights[1], biases[1])]
    shapes = {"x": ((1, 4, 4, CHANNELS), 0), "w": (weights[0].shape, 1), "b": (biases[0].shape, 2),
              "inner": ((1, 4, 4, CHANNELS), 0), "v": (weights[1].shape, 3), "c": (biases[1].shape, 4),
              "y": ((1, 4, 4, CHANNELS), 0)}
    tensors = [schema.TensorT(name=name, shape=list(shape), type=schema.TensorType.FLOAT32, buffer=buffer)
               for name, (shape, buffer) in shapes.items()]
    layers = [schema.OperatorT(opcodeIndex=0, inputs=inputs, outputs=[output],
                               builtinOptionsType=schema.BuiltinOptions.Conv2DOptions,
                               builtinOptions=schema.Conv2DOptionsT(
                                   strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1,
                                   fusedActivationFunction=activation))
              for inputs, output, activation in (([0, 1, 2], 3, RELU), ([3, 4, 5], 6, 0))]
    code = schema.OperatorCodeT(builtinCode=schema.BuiltinOperator.CONV_2D,
                                deprecatedBuiltinCode=schema.BuiltinOperator.CONV_2D)
    ends = [[schema.TensorMapT(name=name, tensorIndex=index)] for name, index in (("x", 0), ("y", 6))]
    model = schema.ModelT(
        version=3, operatorCodes=[code], buffers=buffers,
        subgraphs=[schema.SubGraphT(tensors=tensors, inputs=[0], outputs=[6], operators=layers)],
        signatureDefs=[schema.SignatureDefT(signatureKey="serving_default", inputs=ends[0], outputs=ends[1])])
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def with_ranges(result):
    """The calibration's result, where a tensor that was always 0 gets the range 0 to 1."""
    return {name: own | {"max": np.ones_like(own["max"])} if not np.any(own["min"]) and not np.any(own["max"]) else own
            for name, own in result.items()}


def quantized(content, mend=lambda result: result):
    maker = quantizer.Quantizer(content)
    maker.load_quantization_recipe(recipe.static_wi8_ai8())
    random = np.random.default_rng(1)
    images = [{"x": random.uniform(-1, 1, (1, 4, 4, CHANNELS)).astype(np.float32)} for _ in range(32)]
    return bytes(maker.quantize(mend(maker.calibrate({"serving_default": images}))).quantized_model)


def factor(content):
    """The largest (input scale x weight scale / output scale) of the first layer, and the scale of its output."""
    graph = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content)).subgraphs[0]
    layer = next(one for one in graph.operators if len(one.inputs) == 3)
    taken, weights, given = (graph.tensors[index].quantization.scale for index in (*layer.inputs[:2], layer.outputs[0]))
    return float(taken[0] * max(weights) / given[0]), float(given[0])


def loads(content, **how):
    try:
        Interpreter(model_content=content, num_threads=1, **how).allocate_tensors()
    except RuntimeError as error:
        return str(error)
    return "loads"


found = []
for name, shift, how in (("a ReLU that opens", 0.0, {}), ("a ReLU that never opens", -100.0, {}),
                         ("the same with a range of 1", -100.0, {"mend": with_ranges})):
    content = quantized(two_layers(shift), **how)
    ratio, scale = factor(content)
    with_xnnpack = loads(content)
    plain = loads(content, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    found.append((ratio > 256, with_xnnpack == "loads", plain == "loads"))
    print(f"{name}: output scale {scale:.1e}, factor {ratio:.1e}; XNNPACK: {with_xnnpack}; own kernels: {plain}")
same = found == [(False, True, True), (True, False, True), (False, True, True)]
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
