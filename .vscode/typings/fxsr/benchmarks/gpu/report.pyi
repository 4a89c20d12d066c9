from benchmarks.gpu.report import *
