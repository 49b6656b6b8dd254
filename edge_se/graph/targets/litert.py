"""`litert`: LiteRT, TensorFlow Lite's new name, with XNNPACK."""

from edge_se.graph.targets.base import WEIGHTED, Target

ELSEWHERE = "written for LiteRT: its latency is measured there; use --backend litert"

TARGET = Target(
    name="litert", order=70, preference=5, runs_on="LiteRT with XNNPACK", activations="int8",
    quantized_bias=True, quantized_outputs=True, litert=True, judged_in="litert",
    operators=(*WEIGHTED, "Add", "Mul", "Relu", "Clip", "GlobalAveragePool", "MaxPool", "AveragePool", "Flatten",
               "Reshape", "Pad", "Slice"),
    reasons=(
        "LiteRT's integer kernels take signed activations with a free zero point, int8 weights with a scale for each "
        "output and int32 biases, and compute operators whose data and result are int8",
        "sigmoids, softmaxes and what a Concat joins in float: LiteRT prescribes the scale of their results, or wants "
        "one for all",
        "excitations in float: as fast, and 0.02 % of the MACs",
    ),
    rules=(
        {"runtime": "litert", "reason": None},
        {"runtime": "onnxruntime", "reason": ELSEWHERE},
        {"runtime": "openvino", "reason": ELSEWHERE},
    ))
