from training.transfer import *
