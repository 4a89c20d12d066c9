from benchmarks.gpu.command import *
