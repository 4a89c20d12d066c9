"""From an ONNX graph to a TensorRT or TensorRT-RTX engine, and to a Triton model repository."""
