from benchmarks.dial import *
