from training.recipe import *
