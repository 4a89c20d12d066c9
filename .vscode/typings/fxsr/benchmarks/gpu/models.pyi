from benchmarks.gpu.models import *
