from training.recipe_data import *
