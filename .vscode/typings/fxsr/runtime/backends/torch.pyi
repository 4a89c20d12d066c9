from runtime.backends.torch import *
