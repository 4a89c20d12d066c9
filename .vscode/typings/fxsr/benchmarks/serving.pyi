from benchmarks.serving import *
