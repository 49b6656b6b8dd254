"""`tensorrt`: every TensorRT from 8.5 on, and TensorRT for RTX."""

from edge_se.graph.targets.base import WEIGHTED, Target

SYMMETRIC = "TensorRT takes symmetric int8 with zero point 0 only; its parser rejects an int32 bias behind " \
            "DequantizeLinear"
RESIDUAL = "Q/DQ on the residual input of each Add lets Conv + Add + ReLU fuse into one INT8 kernel; outputs stay " \
           "unquantized so that the fused kernel chooses its own output type"
TINY_EXCITATIONS = "an excitation in INT8 is a chain of tiny kernels with reformats between them"
# The newest opset that a parser is documented to read: docs/operators.md of onnx/onnx-tensorrt at 8.5-GA, 8.6-GA
# ("up to Opset 17") and 10.0-GA ("opset 9 to opset 20"). Which 10.x reads 21 and later is told by the builder.
OPSETS = (
    {"runtime": "tensorrt", "before": "10", "opset_from": 21,
     "reason": "its opset {opset} is not read by every TensorRT 10; {version} reads up to 17: export the source with "
               "opset 17"},
    {"runtime": "tensorrt", "before": "10", "opset_from": 18,
     "reason": "its opset {opset} needs TensorRT 10 or later; {version} reads up to 17: export the source with opset "
               "17"},
)
SLOW = "written for TensorRT: onnxruntime has no fast kernels for it; its latency is measured on the device"
ELSEWHERE = (
    {"runtime": "opencv",
     "reason": "written for TensorRT: OpenCV runs in INT8 what is quantized behind a convolution, too: the `cpu` file"},
    {"runtime": "tensorrt_rtx", "reason": None},
    {"runtime": "onnxruntime-tensorrt", "reason": None},
    {"runtime": "openvino", "reason": "written for TensorRT: its latency is measured on the device"},
)

TARGET = Target(
    name="tensorrt", order=50, preference=50, runs_on="TensorRT 8.5 to 11", activations="int8-symmetric",
    quantized_bias=False, quantized_outputs=False, quantized_residuals=True, operators=WEIGHTED, simulated=True,
    judged_in="openvino",
    reasons=(SYMMETRIC, RESIDUAL, TINY_EXCITATIONS),
    oldest={"tensorrt": "8.5"}, rules=(
        *OPSETS,
        {"runtime": "tensorrt", "reason": None},
        # That pass rounds float biases to int32, and the float weights of a layer behind a DequantizeLinear to int8.
        {"runtime": "onnxruntime", "without": ["WeightBiasQuantization"], "reason": SLOW},
        *ELSEWHERE,
    ))
