from training.average import *
