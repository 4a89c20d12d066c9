from runtime.jobs.runner import *
