from training.losses import *
