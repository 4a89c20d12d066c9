from training.user_terms import *
