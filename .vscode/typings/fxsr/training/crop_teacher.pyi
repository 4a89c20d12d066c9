from training.crop_teacher import *
