from runtime.machine.gpu import *
