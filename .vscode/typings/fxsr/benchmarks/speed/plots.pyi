from benchmarks.speed.plots import *
