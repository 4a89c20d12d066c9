from runtime.serve.tensors import *
