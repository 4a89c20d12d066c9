from runtime.serve.connections import *
