from training.state import *
