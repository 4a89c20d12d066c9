from runtime.serve.protocol import *
