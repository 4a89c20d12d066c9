from training.teachers import *
