from training.loop import *
