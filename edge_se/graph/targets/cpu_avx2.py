"""`cpu-avx2`: onnxruntime on x86 that adds products of 8 bits in 16."""

from edge_se.graph.targets.base import ARM, KERNELS, Target

TARGET = Target(
    name="cpu-avx2", order=20, preference=10, runs_on="onnxruntime on x86 without VNNI", activations="uint8",
    quantized_bias=True, quantized_outputs=True, operators=KERNELS, weight_bits=7, narrow_group=4,
    narrow_swishes=True,
    reasons=(
        "without VNNI two products of uint8 and int8 are added in 16 bits and saturate; 7-bit weights cannot",
        "otherwise as `cpu`",
    ),
    rules=(
        {"runtime": "onnxruntime", "machine": ARM,
         "reason": "written for x86: onnxruntime runs the `arm` file faster here"},
        {"runtime": "onnxruntime", "reason": None},
        {"runtime": "openvino", "reason": None},
        {"runtime": "opencv", "reason": None},
        {"runtime": "onnxruntime-web",
         "reason": "written for x86 without VNNI: WebAssembly runs the `cpu` file, with all 8 bits, as fast"},
    ))
