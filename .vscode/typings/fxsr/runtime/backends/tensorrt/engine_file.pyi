from runtime.backends.tensorrt.engine_file import *
