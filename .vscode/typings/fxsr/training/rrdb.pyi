from training.rrdb import *
