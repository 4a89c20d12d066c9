from runtime.jobs.forecast import *
