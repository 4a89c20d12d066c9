from benchmarks.gpu.worker import *
