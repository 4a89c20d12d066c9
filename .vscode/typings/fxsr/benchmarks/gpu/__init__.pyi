from benchmarks.gpu import *
