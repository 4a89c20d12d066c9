from runtime.jobs import *
