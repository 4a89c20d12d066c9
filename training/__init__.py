"""Training: data, losses, the conditional objective, the loop, and recipes. Nothing is here yet."""
