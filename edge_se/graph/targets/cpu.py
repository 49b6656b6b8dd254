"""`cpu`: onnxruntime on x86 whose processor adds products of 8 bits in 32."""

from edge_se.graph.targets.base import ARM, FAST_X86, KERNELS, X86, Target

TARGET = Target(
    name="cpu", order=10, preference=20, runs_on="onnxruntime on x86 with VNNI or AMX", activations="uint8",
    quantized_bias=True, quantized_outputs=True, operators=KERNELS, narrow_group=4, narrow_swishes=True,
    reasons=(
        "onnxruntime's VNNI kernels multiply uint8 activations by int8 weights; S8S8 and U8U8 are slower than FP32 "
        "there",
        "an int32 bias lets onnxruntime fuse Q/DQ into QLinearConv",
        "convolutions with groups of 2 to 4 channels in float: onnxruntime has no fast INT8 kernel for them "
        "(bench/grouped.py); depthwise ones have one",
        "narrow layers beside a hard swish in float: onnxruntime's FP32 convolutions carry it within, its INT8 ones do "
        "not (bench/swishes.py)",
        "WebAssembly adds products of 8 bits in 32 on every processor, so browsers take this file as well",
        "excitations in float: as fast in onnxruntime, faster in OpenVINO, and 0.02 % of the MACs",
    ),
    rules=(
        {"runtime": "onnxruntime", "machine": ARM,
         "reason": "written for x86: onnxruntime runs the `arm` file faster here"},
        {"runtime": "onnxruntime", "machine": X86, "lacks": FAST_X86,
         "reason": "written for x86 with VNNI: its 8-bit weights saturate on this processor; export --target cpu-avx2"},
        {"runtime": "onnxruntime", "reason": None},
        {"runtime": "openvino", "reason": None},
        {"runtime": "opencv", "reason": None},
        {"runtime": "onnxruntime-web", "reason": None},
    ))
