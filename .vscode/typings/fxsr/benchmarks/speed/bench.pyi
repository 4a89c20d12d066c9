from benchmarks.speed.bench import *
