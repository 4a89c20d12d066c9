from training.native import *
