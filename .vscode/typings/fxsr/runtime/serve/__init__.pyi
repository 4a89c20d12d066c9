from runtime.serve import *
