"""ONNX graphs: export from torch, rewrites, metadata, FP16, counting."""
