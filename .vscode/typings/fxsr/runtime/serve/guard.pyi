from runtime.serve.guard import *
