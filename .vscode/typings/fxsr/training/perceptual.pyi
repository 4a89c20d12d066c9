from training.perceptual import *
