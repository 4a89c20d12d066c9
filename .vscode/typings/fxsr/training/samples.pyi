from training.samples import *
