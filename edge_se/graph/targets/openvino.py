"""`openvino`: OpenVINO on x86."""

from edge_se.graph.targets.base import WEIGHTED, Target

TARGET = Target(
    name="openvino", order=40, runs_on="OpenVINO on x86", activations="by-sign", quantized_bias=False,
    quantized_outputs=False, operators=WEIGHTED, narrow_group=1, judged_in="openvino",
    reasons=(
        "OpenVINO runs tensors that go below zero fastest as symmetric int8 (no zero point to subtract) and the others "
        "as uint8; onnxruntime has no kernels for the mixture",
        "what a Concat makes is uint8 with a zero point: OpenVINO 2026.4 computes wrong numbers from it in symmetric "
        "int8",
        "only what a layer reads is quantized: OpenVINO fuses activations, SE scales and residual adds into the "
        "convolution before them, and Q/DQ between them would break that",
        "depthwise convolutions with more outputs than inputs in float: OpenVINO's INT8 kernel takes longer there "
        "(bench/grouped.py)",
        "float biases: at f16, which GPU and Arm plugins choose by themselves, OpenVINO makes int32 ones FP16 before "
        "it scales them, and they saturate at 65504",
    ),
    rules=(
        {"runtime": "openvino", "reason": None},
        {"runtime": "onnxruntime-openvino", "reason": None},
        {"runtime": "onnxruntime",
         "reason": "written for OpenVINO: onnxruntime has no fast kernels for it; use --backend openvino"},
        {"runtime": "opencv",
         "reason": "written for OpenVINO: OpenCV runs in INT8 what is quantized behind a convolution, too: the `cpu` "
                   "file"},
    ))
