from training.data import *
