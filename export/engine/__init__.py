"""Builds a TensorRT or TensorRT-RTX engine from an ONNX graph, and writes a Triton model repository."""
