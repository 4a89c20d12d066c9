from runtime.backends.tensorrt.library import *
