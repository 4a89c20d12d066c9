from runtime.serve.photos import *
