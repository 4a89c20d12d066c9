from benchmarks.sheet import *
