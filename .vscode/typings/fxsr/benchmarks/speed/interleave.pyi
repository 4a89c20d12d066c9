from benchmarks.speed.interleave import *
