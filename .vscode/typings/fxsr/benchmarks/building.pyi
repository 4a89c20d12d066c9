from benchmarks.building import *
