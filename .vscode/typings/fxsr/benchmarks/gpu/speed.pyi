from benchmarks.gpu.speed import *
