from training.ncnn import *
