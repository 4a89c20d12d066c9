from benchmarks.drawings import *
