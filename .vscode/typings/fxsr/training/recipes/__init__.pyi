from training.recipes import *
