from runtime.machine.name import *
