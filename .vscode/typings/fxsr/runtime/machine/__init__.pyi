from runtime.machine import *
