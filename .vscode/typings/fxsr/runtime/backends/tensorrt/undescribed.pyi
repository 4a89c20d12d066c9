from runtime.backends.tensorrt.undescribed import *
