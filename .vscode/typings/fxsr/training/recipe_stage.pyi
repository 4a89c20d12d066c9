from training.recipe_stage import *
