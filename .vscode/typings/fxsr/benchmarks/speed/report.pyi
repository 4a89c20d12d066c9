from benchmarks.speed.report import *
