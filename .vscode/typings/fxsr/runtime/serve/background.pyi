from runtime.serve.background import *
