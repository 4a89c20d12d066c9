from benchmarks.seams import *
