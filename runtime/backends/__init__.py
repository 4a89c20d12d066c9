"""What runs a model: ONNX Runtime, torch, TensorRT and TensorRT-RTX. Each backend implements `fxsr.runtime.session`."""
