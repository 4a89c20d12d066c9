"""From weights to an ONNX graph: the writer, the exact rewrites that make it cheap, and a style baked in."""
