from runtime.jobs.cluster import *
