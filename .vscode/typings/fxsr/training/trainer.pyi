from training.trainer import *
