from training.vgg_layers import *
