from training.style_hold import *
