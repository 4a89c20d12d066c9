"""TensorRT and TensorRT-RTX engines: the library, the checks before an engine is loaded, and sessions."""
