from training.monitor import *
