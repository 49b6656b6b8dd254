"""`arm`: onnxruntime on 64-bit Arm, with and without the dot product (`asimddp`): neither saturates."""

from edge_se.graph.targets.base import ARM, KERNELS, Target

TARGET = Target(
    name="arm", order=30, preference=30, runs_on="onnxruntime on 64-bit Arm", activations="int8", quantized_bias=True,
    quantized_outputs=True, operators=KERNELS,
    reasons=(
        "onnxruntime's convolution kernels for Arm take signed activations and int8 weights with zero point 0 "
        "(SDOT; microsoft/onnxruntime#9772)",
        "the zero point of activations is free: after a ReLU all 256 levels are used",
    ),
    rules=(
        {"runtime": "onnxruntime", "machine": ARM, "reason": None},
        {"runtime": "onnxruntime", "reason": "written for Arm: its latency is measured there"},
        {"runtime": "openvino", "reason": None},
        {"runtime": "opencv", "reason": None},
        {"runtime": "onnxruntime-web",
         "reason": "written for Arm's own kernels: WebAssembly has others, and runs the `cpu` file faster"},
    ))
