from runtime.machine.memory import *
