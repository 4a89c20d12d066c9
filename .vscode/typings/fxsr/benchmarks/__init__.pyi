from benchmarks import *
