from training.plots import *
