from runtime.serve.pace import *
