from benchmarks.gpu.steps import *
