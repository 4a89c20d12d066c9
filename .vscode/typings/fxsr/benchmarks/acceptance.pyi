from benchmarks.acceptance import *
