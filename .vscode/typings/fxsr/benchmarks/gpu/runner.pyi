from benchmarks.gpu.runner import *
