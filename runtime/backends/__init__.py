"""The backends that run models: ONNX Runtime, torch, TensorRT and TensorRT-RTX. Each implements
`fxsr.runtime.session`."""
