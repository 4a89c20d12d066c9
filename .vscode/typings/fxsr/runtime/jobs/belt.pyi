from runtime.jobs.belt import *
