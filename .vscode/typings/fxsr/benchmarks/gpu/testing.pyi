from benchmarks.gpu.testing import *
