from benchmarks.speed_commands import *
