from runtime.backends import *
