from runtime.serve.images import *
