from runtime.device import *
