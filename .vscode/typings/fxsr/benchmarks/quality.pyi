from benchmarks.quality import *
