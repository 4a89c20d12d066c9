from training.resident import *
