from runtime.serve.scheduler import *
