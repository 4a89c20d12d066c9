from runtime.serve.statistics import *
