from benchmarks.picture_commands import *
