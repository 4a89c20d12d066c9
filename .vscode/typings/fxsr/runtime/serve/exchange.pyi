from runtime.serve.exchange import *
