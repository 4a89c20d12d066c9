from runtime.serve.metrics import *
