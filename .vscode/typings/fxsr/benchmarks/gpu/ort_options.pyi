from benchmarks.gpu.ort_options import *
