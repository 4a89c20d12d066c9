"""Comparing checkpoints, graphs and engines on photos: the cases, the runners, the limits, and layer by layer."""
