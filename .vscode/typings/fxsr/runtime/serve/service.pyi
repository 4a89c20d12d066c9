from runtime.serve.service import *
