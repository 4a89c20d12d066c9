from training.resume import *
