from training.schedule import *
