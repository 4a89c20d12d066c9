from training.discriminator import *
