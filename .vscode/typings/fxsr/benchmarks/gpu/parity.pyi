from benchmarks.gpu.parity import *
