from training.ready_pictures import *
