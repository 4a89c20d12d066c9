from runtime.device.pycuda import *
