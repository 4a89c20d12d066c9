from training.memory import *
