from benchmarks.judges import *
