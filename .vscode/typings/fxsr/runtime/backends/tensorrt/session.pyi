from runtime.backends.tensorrt.session import *
