"""`tensorrt-fp16`: TensorRT that takes every type from the graph."""

from edge_se.graph.targets.base import WEIGHTED, Target
from edge_se.graph.targets.tensorrt import ELSEWHERE, RESIDUAL, SLOW, SYMMETRIC, TINY_EXCITATIONS

TARGET = Target(
    name="tensorrt-fp16", order=60, preference=60, runs_on="TensorRT 10 and 11, strongly typed",
    activations="int8-symmetric", quantized_bias=False, quantized_outputs=False, quantized_residuals=True,
    operators=WEIGHTED, half_floats=True, simulated=True, judged_in="openvino",
    opset=19,
    reasons=(
        SYMMETRIC, RESIDUAL, TINY_EXCITATIONS,
        "strong typing takes every precision from the graph, so the floats around INT8 are FP16 in the file",
        "QuantizeLinear of FP16 exists from opset 19 on",
    ),
    oldest={"tensorrt": "10"}, rules=(
        {"runtime": "tensorrt", "before": "10",
         "reason": "its FP16 scales need TensorRT 10 or later; here is {version}"},
        {"runtime": "tensorrt", "reason": None},
        # onnxruntime's fusions multiply two FP16 scales into one that FP16 cannot hold; TensorRT does so in FP32.
        {"runtime": "onnxruntime", "as_written": True, "reason": SLOW},
        *ELSEWHERE,
    ))
