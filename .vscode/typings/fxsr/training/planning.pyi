from training.planning import *
