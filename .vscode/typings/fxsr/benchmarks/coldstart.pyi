from benchmarks.coldstart import *
