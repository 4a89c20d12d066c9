from benchmarks.speed.subjects import *
