from runtime.backends.cuda_libraries import *
