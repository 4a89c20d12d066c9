from training.resize import *
