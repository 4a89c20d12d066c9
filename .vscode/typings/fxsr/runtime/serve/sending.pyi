from runtime.serve.sending import *
