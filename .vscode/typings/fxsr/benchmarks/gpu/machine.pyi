from benchmarks.gpu.machine import *
