from runtime.serve.server import *
