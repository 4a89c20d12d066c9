from training.crops import *
