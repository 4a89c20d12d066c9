from benchmarks.speed.flops import *
