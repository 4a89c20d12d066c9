from runtime.serve.failures import *
