from training.degrade import *
