from training.features import *
