"""Compares checkpoints, graphs and engines on photos: inputs, runners, limits, and a layer-by-layer comparison."""
