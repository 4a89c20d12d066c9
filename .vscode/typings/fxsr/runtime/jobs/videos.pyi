from runtime.jobs.videos import *
