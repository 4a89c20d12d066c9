from training.picture_files import *
