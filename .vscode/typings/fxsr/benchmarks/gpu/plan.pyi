from benchmarks.gpu.plan import *
