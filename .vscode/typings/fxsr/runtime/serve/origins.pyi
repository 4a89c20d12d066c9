from runtime.serve.origins import *
