"""`litert-dynamic`: LiteRT, with the range of activations taken from each image as the file runs."""

from edge_se.graph.targets.base import WEIGHTED, Target
from edge_se.graph.targets.litert import ELSEWHERE

TARGET = Target(
    name="litert-dynamic", order=75, preference=4, runs_on="LiteRT with XNNPACK", activations="dynamic",
    quantized_bias=False, quantized_outputs=False, litert=True, judged_in="litert", operators=WEIGHTED,
    depthwise=False,
    reasons=(
        "XNNPACK takes the range of what a layer reads from each image, multiplies in INT8 and gives floats: no "
        "calibration images, and int8 weights with a scale for each output",
        "depthwise convolutions in float: XNNPACK has no such kernel for them",
        "excitations in float: they hold 0.02 % of the MACs",
    ),
    rules=(
        {"runtime": "litert", "reason": None},
        {"runtime": "onnxruntime", "reason": ELSEWHERE},
        {"runtime": "openvino", "reason": ELSEWHERE},
    ))
