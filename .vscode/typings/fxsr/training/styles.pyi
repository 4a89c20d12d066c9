from training.styles import *
