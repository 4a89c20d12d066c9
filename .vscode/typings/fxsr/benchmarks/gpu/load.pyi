from benchmarks.gpu.load import *
