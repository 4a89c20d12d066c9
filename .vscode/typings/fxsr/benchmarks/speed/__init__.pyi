from benchmarks.speed import *
