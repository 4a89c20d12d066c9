from benchmarks.photos import *
