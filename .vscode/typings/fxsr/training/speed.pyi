from training.speed import *
