"""Training: recipes, data, the conditional objective, the loop, and measuring over t. docs/training.md is its manual.

`load_recipe` reads what is to be done and `fxsr.training.loop.train` does it; `evaluate` measures any upscaler.
"""

from fxsr.training.evaluate import evaluate, load_pairs
from fxsr.training.recipe import Recipe
from fxsr.training.recipes import load_recipe

__all__ = ["Recipe", "evaluate", "load_pairs", "load_recipe"]
