from benchmarks.speed.measure import *
