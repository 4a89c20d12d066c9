from training.cache import *
