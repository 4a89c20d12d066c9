from benchmarks.engines import *
