from training.evaluate import *
