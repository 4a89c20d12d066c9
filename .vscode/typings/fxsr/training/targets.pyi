from training.targets import *
