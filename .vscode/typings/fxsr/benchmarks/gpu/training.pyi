from benchmarks.gpu.training import *
