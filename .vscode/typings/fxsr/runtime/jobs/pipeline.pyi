from runtime.jobs.pipeline import *
