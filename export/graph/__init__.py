"""Writes the ONNX graph from weights: the writer, the exact rewrites that make the graph cheap, and fixed styles."""
