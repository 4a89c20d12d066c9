from runtime.jobs.jobs import *
