from benchmarks.memory import *
