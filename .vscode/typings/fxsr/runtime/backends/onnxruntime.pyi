from runtime.backends.onnxruntime import *
