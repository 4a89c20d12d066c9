from runtime.jobs.places import *
