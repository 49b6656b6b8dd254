"""ONNX -> LiteRT: the `.tflite` file of a float or a Q/DQ graph, written with LiteRT's own schema."""
