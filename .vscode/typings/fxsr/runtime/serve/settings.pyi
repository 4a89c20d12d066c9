from runtime.serve.settings import *
