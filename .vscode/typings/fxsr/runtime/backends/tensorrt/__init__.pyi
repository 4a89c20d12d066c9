from runtime.backends.tensorrt import *
