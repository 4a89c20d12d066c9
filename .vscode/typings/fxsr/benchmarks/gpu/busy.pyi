from benchmarks.gpu.busy import *
