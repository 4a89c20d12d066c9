from runtime.backends.providers import *
