from training.objective import *
