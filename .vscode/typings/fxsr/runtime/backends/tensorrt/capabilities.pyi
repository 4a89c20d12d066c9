from runtime.backends.tensorrt.capabilities import *
