from training.opening import *
