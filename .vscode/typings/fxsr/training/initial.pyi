from training.initial import *
