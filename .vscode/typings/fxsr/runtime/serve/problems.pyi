from runtime.serve.problems import *
