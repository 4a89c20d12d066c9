from runtime.machine.cpus import *
