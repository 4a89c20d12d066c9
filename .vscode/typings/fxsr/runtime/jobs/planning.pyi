from runtime.jobs.planning import *
