from benchmarks.gpu.probes import *
